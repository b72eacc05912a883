//! What the attributes `#[trace]` and `#[span]` make of a function.

use futures_core::Stream;
use serde_json::Value;

use super::{
    SpanBuilder, TraceBuilder,
    ending::{Begin, Ends as _, Outcome, catching, ending, run, watched},
    stream::StepStream,
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
    fn is_wanted(&self) -> bool;

    /// Sets the captured arguments.
    #[must_use]
    fn arguments(self, arguments: Value) -> Self;
}

impl Decorated for SpanBuilder {
    fn is_wanted(&self) -> bool {
        client::anything_enabled() && current().is_some_and(|frame| frame.position().is_some())
    }

    fn arguments(self, arguments: Value) -> Self {
        self.input(arguments)
    }
}

impl Decorated for TraceBuilder {
    fn is_wanted(&self) -> bool {
        client::anything_enabled() && self.has_client()
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

/// The stream of a function that returns one.
pub fn decorated_stream<B: Decorated, S: Stream, J: FnMut(&S::Item) -> Option<String>>(
    builder: B,
    stream: S,
    judge_item: J,
) -> StepStream<B, S, J> {
    StepStream::new(builder, stream, judge_item)
}

/// Runs the body of an asynchronous function that gives a stream: what it stands for goes on until the stream ends.
///
/// # Errors
///
/// Those of the body.
pub async fn decorated_future_of_stream<B: Decorated, F, S: Stream, E, J: FnMut(&S::Item) -> Option<String>>(
    builder: B,
    body: F,
    judge: impl FnOnce(&Result<S, E>) -> Judged,
    judge_item: J,
) -> Result<StepStream<B, S, J>, E>
where
    F: Future<Output = Result<S, E>>,
{
    let (handle, mut home) = builder.begin();
    let shared = home.share();
    let judged = handle.clone();
    let told = |outcome: Outcome<'_, Result<S, E>>| {
        if !matches!(outcome, Outcome::Returned(Ok(_))) {
            ending(judged.clone(), |value| verdict::<B, _>(&judged, value, judge))(outcome);
        }
    };
    let stream = watched(Scoped::new(home, body), told).await?;
    Ok(StepStream::begun(handle, shared, stream, judge_item))
}

/// [`decorated_future_of_stream`] for a function that gives the result at once.
///
/// # Errors
///
/// Those of the body.
pub fn decorated_run_of_stream<B: Decorated, S: Stream, E, J: FnMut(&S::Item) -> Option<String>>(
    builder: B,
    body: impl FnOnce() -> Result<S, E>,
    judge: impl FnOnce(&Result<S, E>) -> Judged,
    judge_item: J,
) -> Result<StepStream<B, S, J>, E> {
    let (handle, mut home) = builder.begin();
    let result = home.inside(|| catching(body, |message| handle.end(Exit::Panicked(message))));
    if result.is_err() {
        handle.end(verdict::<B, _>(&handle, &result, judge));
    }
    result.map(|stream| StepStream::begun(handle, home, stream, judge_item))
}

/// A value that is only talked about: what calls this is never reached.
pub fn never<T>() -> T {
    std::process::abort()
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
