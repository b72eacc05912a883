//! A stream that is a step.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::{Span, SpanBuilder, ending::catching};
use crate::{
    context::{Home, Plan, Scoped},
    pipeline::Exit,
};

pin_project! {
    /// The stream of [`SpanBuilder::scope_stream`].
    #[must_use = "streams do nothing unless polled"]
    pub struct SpanStream<S> {
        #[pin]
        step: Step<S>,
        home: Home,
        span: Option<Span>,
    }

    impl<S> PinnedDrop for SpanStream<S> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // What destructors inside record comes first.
            if let StepProj::Begun { stream } = this.step.project() {
                stream.clear();
            }
            if let Some(span) = this.span.take() {
                span.end_as(if std::thread::panicking() { Exit::Panicked(None) } else { Exit::Left });
            }
        }
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<S> {
        Unbegun { start: Option<(SpanBuilder, S)> },
        Begun { #[pin] stream: Scoped<S> },
    }
}

impl<S: Stream> SpanStream<S> {
    pub(super) fn new(builder: SpanBuilder, stream: S) -> Self {
        Self {
            step: Step::Unbegun { start: Some((builder, stream)) },
            home: Home::new(Plan::Same),
            span: None,
        }
    }
}

impl<S: Stream> Stream for SpanStream<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        if let StepProj::Unbegun { start } = this.step.as_mut().project()
            && let Some((builder, stream)) = start.take()
        {
            let (span, home) = this.home.inside(|| {
                let span = builder.start();
                let home = span.home();
                (span, home)
            });
            *this.span = Some(span);
            this.step.set(Step::Begun { stream: Scoped::new(home, stream) });
        }
        let StepProj::Begun { stream } = this.step.as_mut().project() else {
            return Poll::Ready(None);
        };
        let polled = catching(
            || stream.poll_next(cx),
            |message| {
                if let Some(span) = this.span.take() {
                    span.end_as(Exit::Panicked(message));
                }
            },
        );
        if let Poll::Ready(None) = polled
            && let Some(span) = this.span.take()
        {
            span.end_as(Exit::Done);
        }
        polled
    }
}

impl<S> fmt::Debug for SpanStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpanStream")
    }
}
