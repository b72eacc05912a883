//! The recorded scenario that sets the process default, in a process of its own: that is for good.

#[path = "golden/compare.rs"]
mod compare;
#[path = "golden/deliberate.rs"]
mod deliberate;
#[expect(dead_code, reason = "one function of it is for a process of its own")]
#[path = "../../examples/manual/src/rules.rs"]
mod rules;

use std::time::Duration;

use compare::{compare, config, recorded};
use pandaprobe_tests::backend::Backend;

const SOON: Duration = Duration::from_secs(10);

/// An asyncio task is a task that is handed the scope over, `asyncio.to_thread` is `spawn_blocking`.
#[test]
fn golden_02_set_session_set_user() {
    compare::table_is_well_formed();
    let Some(golden) = recorded(2) else { return };
    let backend = Backend::start();
    let guard = pandaprobe::init(config(&backend)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(rules::defaults());
    guard.client().flush(SOON).unwrap();
    drop(guard);
    let rejected = backend.rejected();
    assert!(rejected.is_empty(), "{rejected:?}");
    compare("02", golden.pandaprobe_requests.iter().enumerate(), &backend.requests());
}
