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
    pub struct StepStream<B: Begin, S> {
        #[pin]
        step: Step<B, S>,
        home: Home,
        handle: Option<B::Handle>,
    }

    impl<B: Begin, S> PinnedDrop for StepStream<B, S> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // What destructors inside record comes first.
            if let StepProj::Begun { stream } = this.step.project() {
                stream.clear();
            }
            if let Some(handle) = this.handle.take() {
                handle.end(if std::thread::panicking() { Exit::Panicked(None) } else { Exit::Left });
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

#[expect(private_bounds, reason = "there are two builders")]
impl<B: Begin, S: Stream> StepStream<B, S> {
    pub(super) fn new(builder: B, stream: S) -> Self {
        Self {
            step: Step::Unbegun { start: Some((builder, stream)) },
            home: Home::new(Plan::Same),
            handle: None,
        }
    }
}

impl<B: Begin, S: Stream> Stream for StepStream<B, S> {
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
        if let Poll::Ready(None) = polled
            && let Some(handle) = this.handle.take()
        {
            handle.end(Exit::Done);
        }
        polled
    }
}

impl<B: Begin, S> fmt::Debug for StepStream<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StepStream")
    }
}
