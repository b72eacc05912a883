//! Bodies that are seen while they pass by.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::BoxError;
use crate::{error_text::ErrorText, pipeline::Piece, trace::Span};

pin_project! {
    /// The body of a response: what is read of it goes to its span too, which ends when the body does. Dropped
    /// before that, the span ends as [`Span::unread`] says.
    #[derive(Debug)]
    pub struct Tapped<B> {
        #[pin]
        inner: B,
        // None once the span has ended.
        span: Option<Span>,
        readable: bool,
    }

    // A reader of a stream leaves after the terminal event, before the end of the body; or it leaves early.
    impl<B> PinnedDrop for Tapped<B> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(span) = this.project().span.take() {
                span.unread();
            }
        }
    }
}

impl<B: Body> Tapped<B> {
    /// The body `inner`; with no span nothing is seen. One that is not `readable`, because it is compressed, ends
    /// the span without being decoded.
    pub fn new(inner: B, span: Option<Span>, readable: bool) -> Self {
        let mut tapped = Self { inner, span, readable };
        if tapped.inner.is_end_stream() {
            finish(&mut tapped.span, readable);
        }
        tapped
    }
}

fn finish(span: &mut Option<Span>, readable: bool) {
    if let Some(span) = span.take() {
        if readable {
            span.feed(Piece::End);
        }
        span.end();
    }
}

impl<B> Body for Tapped<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx)).map(|frame| frame.map_err(Into::into));
        match (&frame, &this.span) {
            (Some(Ok(frame)), Some(span)) if *this.readable => {
                if let Some(bytes) = frame.data_ref() {
                    span.feed(Piece::Body(bytes.clone()));
                }
            }
            (Some(Err(error)), Some(_)) => {
                this.span.take().into_iter().for_each(|span| span.fail(error.error_text()));
            }
            _ => {}
        }
        if frame.is_none() || this.inner.is_end_stream() {
            finish(this.span, *this.readable);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pin_project! {
    /// The body of a request that is seen while it is sent.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        #[pin]
        inner: B,
        span: Option<Span>,
    }
}

impl<B> RequestBody<B> {
    /// The body `inner`; with no span nothing is seen.
    pub fn new(inner: B, span: Option<Span>) -> Self {
        Self { inner, span }
    }
}

impl<B: Body<Data = Bytes>> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if let (Some(Ok(frame)), Some(span)) = (&frame, this.span)
            && let Some(bytes) = frame.data_ref()
        {
            span.feed(Piece::RequestPart(bytes.clone()));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
