//! A response whose body is seen while it is read.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::header;
use pandaprobe_core::{ErrorText, Piece, Span};
use reqwest::{Body, Response, ResponseBuilderExt};

use crate::{headers, usage::Hider};

/// The same response; what is read of its body goes to `span` too, which ends when the body does. With
/// `hides_usage`, the chunk of a stream that only brings usage goes there alone.
pub(crate) fn tapped(response: Response, span: Span, hides_usage: bool) -> Response {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
    headers::record(response.headers(), &span);
    let is_stream = content_type.as_deref().is_some_and(|kind| kind.starts_with("text/event-stream"));
    let hider = (hides_usage && is_stream).then(Hider::default);
    span.feed(Piece::Response { status: response.status().as_u16(), content_type });

    let mut head = http::Response::new(());
    *head.status_mut() = response.status();
    *head.version_mut() = response.version();
    *head.headers_mut() = response.headers().clone();
    if hider.is_some() {
        // What is hidden is missing from the length.
        head.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let url = response.url().clone();
    let body =
        Body::wrap_stream(Tap { inner: Some(Box::pin(response.bytes_stream())), span: Some(span), hider });
    // The URL travels as an extension that only a builder can make.
    let url = http::Response::builder().url(url).body(()).unwrap_or_default();
    *head.extensions_mut() = url.into_parts().0.extensions;
    head.map(|()| body).into()
}

struct Tap {
    /// None after its end.
    inner: Option<BodyStream>,
    span: Option<Span>,
    hider: Option<Hider>,
}

type BodyStream = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

impl Tap {
    /// What the caller sees of a piece; `None` if there is nothing to see yet.
    fn passed(&mut self, bytes: Bytes) -> Option<Bytes> {
        if let Some(span) = &self.span {
            span.feed(Piece::Body(bytes.clone()));
        }
        match &mut self.hider {
            None => Some(bytes),
            Some(hider) => Some(hider.push(&bytes)).filter(|passed| !passed.is_empty()),
        }
    }

    fn ended(&mut self) -> Option<Bytes> {
        self.inner = None;
        if let Some(span) = self.span.take() {
            span.feed(Piece::End);
            span.end();
        }
        self.hider.take().map(|mut hider| hider.rest()).filter(|rest| !rest.is_empty())
    }
}

impl Stream for Tap {
    type Item = reqwest::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while let Some(inner) = &mut this.inner {
            match ready!(inner.as_mut().poll_next(cx)) {
                Some(Ok(bytes)) => {
                    if let Some(passed) = this.passed(bytes) {
                        return Poll::Ready(Some(Ok(passed)));
                    }
                }
                Some(Err(error)) => {
                    if let Some(span) = this.span.take() {
                        span.fail(error.error_text());
                    }
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(this.ended().map(Ok)),
            }
        }
        Poll::Ready(None)
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
