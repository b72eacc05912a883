//! The layer for `tower` stacks of `http` requests.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use pandaprobe_core::{
    ErrorText, Outcome, Span,
    exchange::{self, BoxError, Operation, RequestBody, Sent, Tapped},
    watched,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::HttpHandler;

/// Traces the calls of model providers that pass through; made by [`HttpHandler::layer`].
#[derive(Clone, Debug)]
pub struct HttpLayer {
    handler: HttpHandler,
}

impl HttpLayer {
    pub(crate) fn new(handler: HttpHandler) -> Self {
        Self { handler }
    }
}

impl<S> Layer<S> for HttpLayer {
    type Service = HttpService<S>;

    fn layer(&self, inner: S) -> HttpService<S> {
        HttpService { inner, handler: self.handler.clone() }
    }
}

/// The service that [`HttpLayer`] makes.
#[derive(Clone, Debug)]
pub struct HttpService<S> {
    inner: S,
    handler: HttpHandler,
}

type CallFuture<B> = Pin<Box<dyn Future<Output = Result<Response<Tapped<B>>, BoxError>> + Send>>;

impl<S, Out, In> Service<Request<Out>> for HttpService<S>
where
    S: Service<Request<RequestBody<Out>>, Response = Response<In>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    Out: Body<Data = Bytes>,
    In: Body<Data = Bytes> + Send + 'static,
    In::Error: Into<BoxError>,
{
    type Response = Response<Tapped<In>>;
    type Error = BoxError;
    type Future = CallFuture<In>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Out>) -> Self::Future {
        let span = self.start(&request);
        let query = request.uri().query().map(str::to_owned);
        let request = request.map(|body| RequestBody::new(body, span.clone()));
        let answer = self.inner.call(request);
        let Some(span) = span else {
            return Box::pin(async move {
                let response = answer.await.map_err(Into::into)?;
                Ok(response.map(|body| Tapped::new(body, None, false)))
            });
        };
        let watching = span.clone();
        let answer = watched(answer, move |outcome| match outcome {
            Outcome::Panicked(message) => watching.panicked(message),
            Outcome::Dropped => watching.cancel(),
            _ => {}
        });
        Box::pin(async move {
            match answer.await {
                Ok(response) => {
                    let readable = exchange::answered(&span, response.status(), response.headers());
                    Ok(response.map(|body| Tapped::new(body, Some(span), readable)))
                }
                Err(error) => {
                    let error = error.into();
                    span.fail(exchange::without_query(error.error_text(), query.as_deref()));
                    Err(error)
                }
            }
        })
    }
}

impl<S> HttpService<S> {
    fn start<B>(&self, request: &Request<B>) -> Option<Span> {
        let operation = self.handler.operation(request.method(), request.uri().path());
        if operation == Operation::Unknown {
            return None;
        }
        let (server, path) = (server(request.uri()), request.uri().path());
        self.handler.start(operation, &server, path, request.headers(), Sent::Later)
    }
}

/// Scheme, host and port, as far as the request has them.
fn server(uri: &Uri) -> String {
    let scheme = uri.scheme_str().map(|scheme| format!("{scheme}://")).unwrap_or_default();
    scheme + uri.authority().map_or("", |authority| authority.as_str())
}
