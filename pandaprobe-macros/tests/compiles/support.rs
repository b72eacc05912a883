use std::future::Future;

use pandaprobe::testing::{Captured, capture};

/// What `f` records.
pub fn recorded<Fut: Future>(f: impl FnOnce() -> Fut) -> Captured<Fut::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(capture(f))
}
