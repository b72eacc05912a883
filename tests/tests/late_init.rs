//! What was made while nothing was recorded. The global client is the process's, so this is one test in a process of
//! its own.

use std::time::Duration;

use pandaprobe::{Config, MemoryExporter, session, set_user, trace, user};

#[tokio::test]
async fn what_was_said_before_there_was_a_client_is_of_nobody_else() {
    // The environment has no key, so from here on nothing is recorded until init.
    trace("nothing").run(|_| ());
    let hers = user("alice").scope(async { trace("hers").run(|_| ()) });
    let explicit = trace("explicit").user_id("alice");
    let inner = user("bob").scope(session("known").scope(async { trace("inner").run(|_| ()) }));
    user("carol").run(|| set_user("dave"));
    let kept = MemoryExporter::default();
    let guard = pandaprobe::init(Config::new().exporter(kept.clone())).unwrap();
    // An id that was said while nothing was recorded is not kept. That of somebody else does not take its place.
    user("bob").scope(hers).await;
    user("bob").run(|| explicit.run(|_| ()));
    session("outer").scope(inner).await;
    trace("outside").run(|_| ());
    user("eve").run(|| trace("as ever").run(|_| ()));
    guard.client().flush_async(Duration::from_secs(5)).await.unwrap();
    let traces = kept.traces();
    let users: Vec<Option<&str>> = traces.iter().map(|trace| trace.user_id.as_deref()).collect();
    assert_eq!(users, [None, None, None, None, Some("eve")]);
    assert!(traces.iter().all(|trace| trace.session_id.is_none()));
    for trace in &traces[..4] {
        assert_eq!(trace.metadata["pandaprobe.user_id"], "refused: it was said while nothing was recorded");
    }
    pandaprobe::shutdown(Duration::from_secs(5)).unwrap();
    assert_eq!(pandaprobe::stats().delivered, 5, "the counters outlive the shutdown");
}
