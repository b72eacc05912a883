//! Streams whose items and end are told.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use pandaprobe_core::catching;
use pin_project_lite::pin_project;

/// How a stream came to its end.
#[derive(Debug)]
pub(crate) enum StreamEnd {
    /// It gave its last item.
    Finished,
    /// Its reader went away.
    Left,
    /// It panicked, with this message if that is text.
    Panicked(Option<String>),
}

/// Is told of a stream.
pub(crate) trait Watch<T> {
    /// An item came.
    fn item(&mut self, item: &T);

    /// The stream ended.
    fn end(self, end: StreamEnd);
}

pin_project! {
    /// A stream that tells `watch` of its items and, once, how it ended. When it is dropped, the stream inside is dropped
    /// first.
    #[must_use = "streams do nothing unless polled"]
    pub(crate) struct WatchedStream<S: Stream, W: Watch<S::Item>> {
        #[pin]
        stream: Option<S>,
        watch: Option<W>,
    }

    impl<S: Stream, W: Watch<S::Item>> PinnedDrop for WatchedStream<S, W> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.stream.set(None);
            if let Some(watch) = this.watch.take() {
                let unwinds = std::thread::panicking();
                watch.end(if unwinds { StreamEnd::Panicked(None) } else { StreamEnd::Left });
            }
        }
    }
}

impl<S: Stream, W: Watch<S::Item>> WatchedStream<S, W> {
    pub(crate) fn new(stream: S, watch: W) -> Self {
        Self { stream: Some(stream), watch: Some(watch) }
    }
}

impl<S: Stream, W: Watch<S::Item>> Stream for WatchedStream<S, W> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let Some(stream) = this.stream.as_pin_mut() else {
            return Poll::Ready(None);
        };
        let watch = this.watch;
        let polled = catching(
            || stream.poll_next(context),
            |message| {
                if let Some(watch) = watch.take() {
                    watch.end(StreamEnd::Panicked(message));
                }
            },
        );
        match &polled {
            Poll::Ready(Some(item)) => watch.iter_mut().for_each(|watch| watch.item(item)),
            Poll::Ready(None) => {
                if let Some(watch) = watch.take() {
                    watch.end(StreamEnd::Finished);
                }
            }
            Poll::Pending => {}
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.as_ref().map_or((0, Some(0)), Stream::size_hint)
    }
}

impl<S: Stream, W: Watch<S::Item>> fmt::Debug for WatchedStream<S, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchedStream")
    }
}
