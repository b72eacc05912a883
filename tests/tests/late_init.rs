//! What was made while nothing was recorded. The global client is the process's, so this is one test in a process of
//! its own.

use std::time::Duration;

use pandaprobe::{Config, MemoryExporter, trace, user};

#[tokio::test]
async fn a_scope_made_before_the_client_is_still_that_scope() {
    // The environment has no key, so from here on nothing is recorded until init.
    trace("nothing").run(|_| ());
    let hers = user("alice").scope(async { trace("hers").run(|_| ()) });
    let explicit = trace("explicit").user_id("alice");
    let kept = MemoryExporter::default();
    let guard = pandaprobe::init(Config::new().exporter(kept.clone())).unwrap();
    user("bob").scope(hers).await;
    user("bob").run(|| explicit.run(|_| ()));
    guard.client().flush_async(Duration::from_secs(5)).await.unwrap();
    assert_eq!(kept.traces()[0].user_id.as_deref(), Some("alice"));
    // An id that was said while nothing was recorded is not kept. That of somebody else does not take its place.
    assert_eq!(kept.traces()[1].user_id, None);
    assert_eq!(
        kept.traces()[1].metadata["pandaprobe.user_id"],
        "refused: it was said while nothing was recorded"
    );
    pandaprobe::shutdown(Duration::from_secs(5)).unwrap();
    assert_eq!(pandaprobe::stats().delivered, 2, "the counters outlive the shutdown");
}
