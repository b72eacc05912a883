//! The recorded scenario that sets the process default, in a process of its own: that is for good.

#[path = "golden/compare.rs"]
mod compare;
#[path = "golden/deliberate.rs"]
mod deliberate;

use std::time::Duration;

use compare::{compare, config, recorded};
use pandaprobe::{Messages, session, set_session, set_user, trace};
use pandaprobe_tests::backend::Backend;

const SOON: Duration = Duration::from_secs(10);

fn note(name: &str) {
    trace(name).run(|_| ());
}

/// An asyncio task is a task that is handed the scope over, `asyncio.to_thread` is `spawn_blocking`.
#[test]
fn golden_02_set_session_set_user() {
    compare::table_is_well_formed();
    let Some(golden) = recorded(2) else { return };
    let backend = Backend::start();
    let guard = pandaprobe::init(config(&backend)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        set_session("sess-set");
        set_user("user-set");
        let set = trace("set").input(Messages::new().user("hello"));
        set.scope(|trace| async move { trace.set_output(Messages::new().assistant("hi")) }).await;
        let inside = async {
            note("set-inside-scope");
            set_session("sess-set-inside-scope");
            tokio::task::yield_now().await;
            note("set-after-scope-entry");
        };
        session("sess-scope").scope(inside).await;
        note("after-scope-exit");
        let child = pandaprobe::spawn(async {
            set_user("user-child-task");
            note("child-task");
        });
        child.await.unwrap();
        note("parent-after-child-set");
        std::thread::spawn(|| note("plain-thread")).join().unwrap();
        pandaprobe::spawn_blocking(|| note("plain-thread")).await.unwrap();
    });
    guard.client().flush(SOON).unwrap();
    drop(guard);
    let rejected = backend.rejected();
    assert!(rejected.is_empty(), "{rejected:?}");
    compare("02", golden.pandaprobe_requests.iter().enumerate(), &backend.requests());
}
