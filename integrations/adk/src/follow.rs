//! What adk gives for a run, an agent or a model: a future of a stream of results, followed to its end.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use adk_core::Result;
use futures_core::Stream;
use pandaprobe_core::{ErrorText, catching};

use crate::{run::End, step::Step};

/// A stream as adk has them.
pub(crate) type Results<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

/// What an `async fn` of adk's traits is. They are written out here, so that the future of what is wrapped is passed on as it
/// is where nothing is recorded.
pub(crate) type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Learns from the items of a stream what its span is to say.
pub(crate) trait Reader<T>: Send + Unpin + 'static {
    /// The next item.
    fn read(&mut self, item: &T, step: &Step);

    /// The stream ended, so or so. Gives the error if the items told of one.
    fn conclude(&mut self, step: &Step, end: &End) -> Option<String>;

    /// The span has ended.
    fn over(&mut self) {}

    /// Whether nothing of interest can follow, so that to leave now is to leave at the end.
    fn is_complete(&self) -> bool;

    /// Whether somebody stopped the run from outside.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Calls `start` inside of `step` and follows the stream that it gives.
pub(crate) async fn follow<T, R, F>(
    step: Arc<Step>,
    reader: R,
    start: impl FnOnce() -> F,
) -> Result<Results<T>>
where
    T: 'static,
    R: Reader<T>,
    F: Future<Output = Result<Results<T>>>,
{
    match step.watch(start).await {
        Ok(stream) => {
            Ok(Box::pin(Followed { stream: Some(stream), step, reader, failed: None, has_ended: false }))
        }
        Err(error) => {
            let mut reader = reader;
            reader.conclude(&step, &End::Failed(error.error_text()));
            step.span.clone().fail(&error);
            reader.over();
            Err(error)
        }
    }
}

struct Followed<T, R: Reader<T>> {
    /// `None`: it is being dropped.
    stream: Option<Results<T>>,
    step: Arc<Step>,
    reader: R,
    /// The last item was this error.
    failed: Option<String>,
    has_ended: bool,
}

impl<T, R: Reader<T>> Followed<T, R> {
    fn end(&mut self, is_exhausted: bool) {
        if mem::replace(&mut self.has_ended, true) {
            return;
        }
        let end = match self.failed.take() {
            Some(error) => End::Failed(error),
            None if is_exhausted || self.reader.is_complete() => End::Done,
            None => End::Left,
        };
        let said = self.reader.conclude(&self.step, &end);
        let span = self.step.span.clone();
        match (end, said) {
            _ if std::thread::panicking() => span.panicked(None),
            (End::Failed(error), _) | (_, Some(error)) => span.fail(error),
            _ if self.step.is_interrupted() => span.cancel(),
            (End::Done, None) => span.end(),
            (_, None) => span.stopped_by_reader(),
        }
        self.reader.over();
    }

    fn notice_interrupt(&self) {
        if self.reader.is_cancelled() {
            self.step.interrupt();
        }
    }
}

impl<T: 'static, R: Reader<T>> Stream for Followed<T, R> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let this = self.get_mut();
        let Some(stream) = this.stream.as_mut() else {
            return Poll::Ready(None);
        };
        let (step, reader, has_ended) = (&this.step, &mut this.reader, &mut this.has_ended);
        let polled = catching(
            || step.enter(|| stream.as_mut().poll_next(cx)),
            |message| {
                if !mem::replace(has_ended, true) {
                    reader.conclude(step, &End::Panicked(message.clone()));
                    step.span.clone().panicked(message);
                    reader.over();
                }
            },
        );
        match &polled {
            Poll::Ready(Some(_)) if this.has_ended => {}
            Poll::Ready(Some(Ok(item))) => {
                this.failed = None;
                this.reader.read(item, &this.step);
            }
            Poll::Ready(Some(Err(error))) => this.failed = Some(error.error_text()),
            Poll::Ready(None) => {
                this.notice_interrupt();
                this.end(true);
            }
            Poll::Pending => {}
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.as_ref().map_or((0, Some(0)), |stream| stream.size_hint())
    }
}

impl<T, R: Reader<T>> Drop for Followed<T, R> {
    fn drop(&mut self) {
        // Before what is inside is dropped, which then knows.
        self.notice_interrupt();
        let stream = self.stream.take();
        self.step.enter(|| drop(stream));
        self.end(false);
    }
}

impl<T, R: Reader<T>> fmt::Debug for Followed<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Followed")
    }
}
