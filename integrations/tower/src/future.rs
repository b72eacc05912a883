//! The future of a response.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::{body::ResponseBody, exchange::Exchange};

pin_project! {
    /// The future of [`PandaProbeService`](crate::PandaProbeService): it is polled and dropped in the scope of its
    /// request, and hands that over to the body of the response.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Option<F>,
        // Nothing is recorded, or the body has it.
        exchange: Option<Exchange>,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            this.clear();
        }
    }
}

impl<F> ResponseFuture<F> {
    pub(crate) fn new(inner: F, exchange: Option<Exchange>) -> Self {
        Self { inner: Some(inner), exchange }
    }

    /// Drops what is inside, in its scope: its destructors may record.
    fn clear(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Some(exchange) = this.exchange {
            exchange.run(|| this.inner.set(None));
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    E: fmt::Display,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Pending;
        };
        let Some(exchange) = this.exchange else {
            return inner.poll(cx).map_ok(|response| response.map(|body| ResponseBody::new(body, None)));
        };
        let answer = ready!(exchange.run(|| inner.poll(cx)));
        match &answer {
            Ok(response) => exchange.answered(response.status(), response.headers(), response.body()),
            Err(error) => exchange.failed(error),
        }
        self.as_mut().clear();
        let exchange = self.project().exchange.take();
        Poll::Ready(answer.map(|response| response.map(|body| ResponseBody::new(body, exchange))))
    }
}
