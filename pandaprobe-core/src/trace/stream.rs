//! A stream that is a step, or a whole trace.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::{
    SpanBuilder, TraceBuilder,
    ending::{Begin, Ends, catching},
};
use crate::{
    context::{Home, Plan, Scoped},
    pipeline::Exit,
};

/// The stream of [`SpanBuilder::scope_stream`].
pub type SpanStream<S> = StepStream<SpanBuilder, S>;

/// The stream of [`TraceBuilder::scope_stream`].
pub type TraceStream<S> = StepStream<TraceBuilder, S>;

pin_project! {
    /// A stream that is a span or a trace: see [`SpanStream`] and [`TraceStream`].
    #[must_use = "streams do nothing unless polled"]
    pub struct StepStream<B: Begin, S, J = Unjudged> {
        #[pin]
        step: Step<B, S>,
        home: Home,
        handle: Option<B::Handle>,
        judge: J,
        failed: Option<String>,
    }

    impl<B: Begin, S, J> PinnedDrop for StepStream<B, S, J> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // What destructors inside record comes first.
            if let StepProj::Begun { stream } = this.step.project() {
                stream.clear();
            }
            if let Some(handle) = this.handle.take() {
                handle.end(match this.failed.take() {
                    _ if std::thread::panicking() => Exit::Panicked(None),
                    Some(error) => Exit::Failed(error),
                    None => Exit::Left,
                });
            }
        }
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<B, S> {
        Unbegun { start: Option<(B, S)> },
        Begun { #[pin] stream: Scoped<S> },
    }
}

/// Says of an item of a stream whether it is an error, and its text. If no item comes after that one, the stream failed.
pub trait JudgeItem<T> {
    /// The text of the error.
    fn error(&mut self, item: &T) -> Option<String>;
}

/// Every item means success.
#[derive(Clone, Copy, Debug)]
pub struct Unjudged;

impl<T> JudgeItem<T> for Unjudged {
    fn error(&mut self, _: &T) -> Option<String> {
        None
    }
}

impl<T, F: FnMut(&T) -> Option<String>> JudgeItem<T> for F {
    fn error(&mut self, item: &T) -> Option<String> {
        self(item)
    }
}

#[expect(private_bounds, reason = "there are two builders")]
impl<B: Begin, S: Stream, J: JudgeItem<S::Item>> StepStream<B, S, J> {
    /// One that begins when it is first polled.
    pub(super) fn new(builder: B, stream: S, judge: J) -> Self {
        let step = Step::Unbegun { start: Some((builder, stream)) };
        Self { step, home: Home::new(Plan::Same), handle: None, judge, failed: None }
    }

    /// One that began before there was a stream.
    pub(super) fn begun(handle: B::Handle, home: Home, stream: S, judge: J) -> Self {
        let step = Step::Begun { stream: Scoped::new(home, stream) };
        Self { step, home: Home::new(Plan::Same), handle: Some(handle), judge, failed: None }
    }
}

impl<B: Begin, S: Stream, J: JudgeItem<S::Item>> Stream for StepStream<B, S, J> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        if let StepProj::Unbegun { start } = this.step.as_mut().project()
            && let Some((builder, stream)) = start.take()
        {
            let (handle, home) = this.home.inside(|| builder.begin());
            *this.handle = Some(handle);
            this.step.set(Step::Begun { stream: Scoped::new(home, stream) });
        }
        let StepProj::Begun { stream } = this.step.as_mut().project() else {
            return Poll::Ready(None);
        };
        let polled = catching(
            || stream.poll_next(cx),
            |message| {
                if let Some(handle) = this.handle.take() {
                    handle.end(Exit::Panicked(message));
                }
            },
        );
        let Some(handle) = this.handle.as_ref().filter(|_| polled.is_ready()) else {
            return polled;
        };
        match &polled {
            Poll::Ready(Some(item)) if B::is_recorded(handle) => *this.failed = this.judge.error(item),
            Poll::Ready(None) => {
                handle.end(this.failed.take().map_or(Exit::Done, Exit::Failed));
                *this.handle = None;
            }
            _ => {}
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.step {
            Step::Unbegun { start: Some((_, stream)) } => stream.size_hint(),
            Step::Unbegun { start: None } => (0, Some(0)),
            Step::Begun { stream } => stream.size_hint(),
        }
    }
}

impl<B: Begin, S, J> fmt::Debug for StepStream<B, S, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StepStream")
    }
}
