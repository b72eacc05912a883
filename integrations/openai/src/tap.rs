//! A response whose body is seen while it is read.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Frame;
use pandaprobe_core::{
    Span,
    exchange::{self, BoxError, ResponseBody, Tapped},
};
use reqwest::{Body, Response};

use crate::usage::Hider;

/// The same response; what is read of its body goes to `span` too, which ends when the body does. With
/// `hides_usage`, the chunk of a stream that only brings usage goes there alone.
pub(crate) fn tapped(response: Response, span: Span, hides_usage: bool) -> Response {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_stream = content_type.is_some_and(|kind| kind.starts_with("text/event-stream"));
    if !(hides_usage && is_stream) {
        return exchange::tapped(response, span);
    }
    let readable = exchange::answered(&span, response.status(), response.headers());
    exchange::changed(response, |headers, body| {
        // What is hidden is missing from the length.
        headers.remove(CONTENT_LENGTH);
        let inner = Some(Box::pin(Tapped::new(body, Some(span), readable)));
        Body::wrap(Hiding { inner, hider: Hider::default() })
    })
}

/// A body without what its [`Hider`] hides.
struct Hiding {
    /// None after its end.
    inner: Option<Pin<Box<Tapped<ResponseBody>>>>,
    hider: Hider,
}

impl http_body::Body for Hiding {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while let Some(inner) = &mut self.inner {
            let frame = match ready!(inner.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.inner = None;
                    let rest = self.hider.rest();
                    return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
                }
            };
            match frame {
                Ok(bytes) => {
                    let passed = self.hider.push(&bytes);
                    if !passed.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(passed))));
                    }
                }
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        Poll::Ready(None)
    }
}
