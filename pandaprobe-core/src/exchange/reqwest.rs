//! Requests and responses of `reqwest`.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use ::reqwest::{self, Body, Request, Response, ResponseBuilderExt};
use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use super::{Sent, Tapped, answered};
use crate::trace::Span;

/// What of a request's body is in memory, without a copy.
pub fn body_of(request: &mut Request) -> Sent {
    let Some(body) = request.body_mut() else {
        return Sent::Whole(Bytes::new());
    };
    if body.as_bytes().is_none() {
        return Sent::Unseen;
    }
    // A body in memory is one frame, which is there at once.
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *body).poll_frame(&mut context) else {
        return Sent::Whole(Bytes::new());
    };
    let bytes = frame.into_data().unwrap_or_default();
    *body = Body::from(bytes.clone());
    Sent::Whole(bytes)
}

/// The same response; what is read of its body goes to `span` too, which ends when the body does.
pub fn tapped(response: Response, span: Span) -> Response {
    let readable = answered(&span, response.status(), response.headers());
    changed(response, |_, body| Body::wrap(Tapped::new(body, Some(span), readable)))
}

/// The same response with another body.
pub fn changed(response: Response, change: impl FnOnce(&mut HeaderMap, ResponseBody) -> Body) -> Response {
    // The URL travels as an extension that only a builder can make.
    let head = http::Response::builder().url(response.url().clone()).status(response.status());
    let (mut head, ()) = head.version(response.version()).body(()).unwrap_or_default().into_parts();
    head.headers = response.headers().clone();
    let url = std::mem::replace(&mut head.extensions, response.extensions().clone());
    head.extensions.extend(url);
    let left = response.content_length();
    let body = ResponseBody { stream: Some(Box::pin(response.bytes_stream())), left };
    let body = change(&mut head.headers, body);
    http::Response::from_parts(head, body).into()
}

/// The body of a response, with errors as a reader of the response gets them.
pub struct ResponseBody {
    /// None after its end.
    stream: Option<BodyStream>,
    /// How many bytes are to come, if that is known.
    left: Option<u64>,
}

type BodyStream = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send + Sync>>;

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<reqwest::Result<Frame<Bytes>>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let next = ready!(stream.as_mut().poll_next(cx));
        match &next {
            Some(Ok(bytes)) => {
                self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
            }
            Some(Err(_)) | None => self.stream = None,
        }
        Poll::Ready(next.map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none() || self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("left", &self.left).finish_non_exhaustive()
    }
}
