//! A response whose body is seen while it is read.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use http::header;
use pandaprobe_core::{ErrorText, Piece, Span};
use reqwest::{Body, Response, ResponseBuilderExt};

/// The same response; what is read of its body goes to `span` too, which ends when the body does.
pub(crate) fn tapped(response: Response, span: Span) -> Response {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
    span.feed(Piece::Response { status: response.status().as_u16(), content_type });

    let mut head = http::Response::new(());
    *head.status_mut() = response.status();
    *head.version_mut() = response.version();
    *head.headers_mut() = response.headers().clone();
    let url = response.url().clone();
    let body = Body::wrap_stream(Tap { inner: Box::pin(response.bytes_stream()), span: Some(span) });
    // The URL travels as an extension that only a builder can make.
    let url = http::Response::builder().url(url).body(()).unwrap_or_default();
    *head.extensions_mut() = url.into_parts().0.extensions;
    head.map(|()| body).into()
}

struct Tap {
    inner: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    span: Option<Span>,
}

impl Stream for Tap {
    type Item = reqwest::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(bytes))) => {
                self.span.iter().for_each(|span| span.feed(Piece::Body(bytes.clone())))
            }
            Poll::Ready(Some(Err(error))) => {
                self.span.take().into_iter().for_each(|span| span.fail(error.error_text()))
            }
            Poll::Ready(None) => {
                if let Some(span) = self.span.take() {
                    span.feed(Piece::End);
                    span.end();
                }
            }
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

/// A reader of a stream leaves after the terminal event, before the end of the body; or it leaves early.
impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            span.unread();
        }
    }
}
