//! What the attributes `#[trace]` and `#[span]` make of a function.

use serde_json::Value;

use super::{
    SpanBuilder, TraceBuilder,
    ending::{Begin, ending, run, watched},
};
use crate::{
    client,
    context::{Scoped, current},
    model::last_user,
    pipeline::Exit,
};

/// What a function's value comes to: what to record of it, or the text of its error.
pub type Judged = Result<Option<Value>, String>;

/// A builder that stands for a decorated function.
#[expect(private_bounds, reason = "there are two builders")]
pub trait Decorated: Begin {
    /// Whether arguments need be captured.
    fn is_wanted() -> bool;

    /// Sets the captured arguments.
    #[must_use]
    fn arguments(self, arguments: Value) -> Self;
}

impl Decorated for SpanBuilder {
    fn is_wanted() -> bool {
        client::anything_enabled() && current().is_some_and(|frame| frame.position().is_some())
    }

    fn arguments(self, arguments: Value) -> Self {
        self.input(arguments)
    }
}

impl Decorated for TraceBuilder {
    fn is_wanted() -> bool {
        client::anything_enabled() && client::current().is_some()
    }

    fn arguments(self, arguments: Value) -> Self {
        self.input(last_user(&arguments))
    }
}

/// Runs the body of an asynchronous function.
pub async fn decorated_future<B: Decorated, F: Future>(
    builder: B,
    body: F,
    judge: impl FnOnce(&F::Output) -> Judged,
) -> F::Output {
    let (handle, home) = builder.begin();
    let judged = handle.clone();
    let told = ending(handle, move |value| verdict::<B, _>(&judged, value, judge));
    watched(Scoped::new(home, body), told).await
}

/// Runs the body of a function.
pub fn decorated_run<B: Decorated, T>(
    builder: B,
    body: impl FnOnce() -> T,
    judge: impl FnOnce(&T) -> Judged,
) -> T {
    let (handle, mut home) = builder.begin();
    home.inside(|| run(&handle, |value| verdict::<B, _>(&handle, value, judge), body))
}

fn verdict<B: Decorated, T>(handle: &B::Handle, value: &T, judge: impl FnOnce(&T) -> Judged) -> Exit {
    if !B::is_recorded(handle) {
        return Exit::Done;
    }
    match judge(value) {
        Ok(output) => {
            output.into_iter().filter(|output| !output.is_null()).for_each(|output| B::gives(handle, output));
            Exit::Done
        }
        Err(text) => Exit::Failed(text),
    }
}
