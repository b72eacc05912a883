//! A transport whose calls of models are recorded.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use pandaprobe_core::{
    ErrorText, Outcome, Piece, Scope, Span,
    exchange::{self, Call, Operation, Sent},
    watched,
};
use pin_project_lite::pin_project;
use rig_core::{
    http_client::{
        Error, HttpClientExt, LazyBody, MultipartForm, Request, Response, Result, StreamingResponse,
    },
    wasm_compat::WasmCompatSend,
};

use crate::{RigHandler, model_calls::Claimed};

/// A transport whose calls of models are recorded; made by [`RigHandler::http`] and [`RigHandler::model`].
///
/// A call that a hook records as a step of an agent's run is not recorded again: its span gets what only the transport
/// knows, such as the provider's limits. Under an agent *without* a hook whose runs overlap, scopes may be those of another
/// run: have all requests to an agent traced.
#[derive(Clone, Debug)]
pub struct TracedHttp<H> {
    inner: H,
    handler: RigHandler,
}

impl<H> TracedHttp<H> {
    pub(crate) fn new(inner: H, handler: RigHandler) -> Self {
        handler.shared.model_calls.watch();
        Self { inner, handler }
    }

    /// Begins to record a call, if it is one.
    fn begin<T>(&self, request: &Request<T>, body: Option<&Bytes>) -> Option<Exchange> {
        let handler = &self.handler.handler;
        // Not by what is current here, which for an agent's call is another's, perhaps.
        if !pandaprobe_core::is_enabled() {
            return None;
        }
        let uri = request.uri();
        let operation = exchange::operation(request.method(), uri.path());
        let told = |span, is_hooked| Exchange {
            span,
            is_hooked,
            operation,
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
            body: body.cloned(),
        };
        if operation.has_turns()
            && let Some(claimed) = body.and_then(|body| self.handler.shared.model_calls.claim(body))
        {
            return match claimed {
                Claimed::By(span) => Some(told(span, true)),
                Claimed::ByOneOfSeveral => None,
            };
        }
        let server = match (uri.scheme_str(), uri.authority()) {
            (Some(scheme), Some(authority)) => format!("{scheme}://{authority}"),
            _ => String::new(),
        };
        let call = Call { operation, server: &server, path: uri.path(), headers: request.headers() };
        let start = || call.start(handler, body.cloned().map_or(Sent::Unseen, Sent::Whole));
        // A run that is somewhere else may ask this.
        let shared = &self.handler.shared;
        let is_strange = match operation.has_turns() {
            true => shared.model_calls.is_any_exposed(),
            false => shared.retrievals.is_any_exposed(),
        };
        let span = if is_strange { Scope::nowhere().run(start) } else { start() };
        Some(told(span?, false))
    }
}

/// A call that is recorded.
struct Exchange {
    span: Span,
    /// Its span is that of a hook, which ends it.
    is_hooked: bool,
    operation: Operation,
    path: String,
    query: Option<String>,
    body: Option<Bytes>,
}

impl Exchange {
    /// The head of an answer. Gives what goes on seeing it.
    fn answered<B>(self, response: &Response<B>) -> Reading {
        self.head(response.status(), response.headers())
    }

    fn head(self, status: http::StatusCode, headers: &HeaderMap) -> Reading {
        let readable = exchange::answered(&self.span, status, headers);
        Reading { span: (!self.is_hooked).then_some(self.span), readable }
    }

    /// There is no answer. A provider that refuses comes as an error too, with its answer inside.
    fn failed(self, error: &Error) {
        if self.is_hooked
            && let Some(body) = &self.body
            && let Some(model) = exchange::requested_model(self.operation, &self.path, body)
        {
            // The hook knows it only from an answer.
            self.span.set_model(model);
        }
        match (error.non_success_status(), error.non_success_body()) {
            (Some(status), Some(body)) => {
                let headers = error.non_success_headers().cloned().unwrap_or_default();
                let body = Bytes::copy_from_slice(body.as_bytes());
                let mut reading = self.head(status, &headers);
                reading.piece(body);
                reading.end();
            }
            _ if self.is_hooked => {}
            _ => self.span.fail(exchange::without_query(error.error_text(), self.query.as_deref())),
        }
    }
}

/// The answer of a call, as it is read.
struct Reading {
    /// None once it has ended, or if a hook ends it.
    span: Option<Span>,
    readable: bool,
}

impl Reading {
    fn piece(&self, bytes: Bytes) {
        if let (Some(span), true) = (&self.span, self.readable) {
            span.feed(Piece::Body(bytes));
        }
    }

    fn end(&mut self) {
        if let Some(span) = self.span.take() {
            if self.readable {
                span.feed(Piece::End);
            }
            span.end();
        }
    }

    fn failed(&mut self, error: &Error) {
        if let Some(span) = self.span.take() {
            span.fail(error.error_text());
        }
    }
}

/// rig stops reading where it knows the end.
impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            span.unread();
        }
    }
}

/// Records how the sending of a call ends without an answer.
async fn watch<T>(
    exchange: Option<Exchange>,
    sent: impl Future<Output = Result<Response<T>>>,
) -> Result<(Response<T>, Option<Reading>)> {
    let Some(exchange) = exchange else {
        return Ok((sent.await?, None));
    };
    let own = (!exchange.is_hooked).then(|| exchange.span.clone());
    let aborted = move |outcome: Outcome<'_, Result<Response<T>>>| match (own, outcome) {
        (Some(span), Outcome::Panicked(message)) => span.panicked(message),
        (Some(span), Outcome::Dropped) => span.cancel(),
        _ => {}
    };
    match watched(sent, aborted).await {
        Ok(response) => {
            let reading = exchange.answered(&response);
            Ok((response, Some(reading)))
        }
        Err(error) => {
            exchange.failed(&error);
            Err(error)
        }
    }
}

/// The same answer, seen while its body is read.
fn read<U>((response, reading): (Response<LazyBody<Bytes>>, Option<Reading>)) -> Response<LazyBody<U>>
where
    U: From<Bytes> + WasmCompatSend + 'static,
{
    response.map(|body| -> LazyBody<U> {
        Box::pin(async move {
            let mut reading = reading;
            let body = body.await;
            if let Some(reading) = &mut reading {
                match &body {
                    Ok(bytes) => {
                        reading.piece(bytes.clone());
                        reading.end();
                    }
                    Err(error) => reading.failed(error),
                }
            }
            body.map(U::from)
        })
    })
}

impl<H: HttpClientExt + Clone + 'static> HttpClientExt for TracedHttp<H> {
    fn send<T, U>(
        &self,
        request: Request<T>,
    ) -> impl Future<Output = Result<Response<LazyBody<U>>>> + WasmCompatSend + 'static
    where
        T: Into<Bytes> + WasmCompatSend,
        U: From<Bytes> + WasmCompatSend + 'static,
    {
        let request: Request<Bytes> = request.map(Into::into);
        let exchange = self.begin(&request, Some(request.body()));
        let sent = self.inner.send::<Bytes, Bytes>(request);
        async move { watch(exchange, sent).await.map(read) }
    }

    fn send_multipart<U>(
        &self,
        request: Request<MultipartForm>,
    ) -> impl Future<Output = Result<Response<LazyBody<U>>>> + WasmCompatSend + 'static
    where
        U: From<Bytes> + WasmCompatSend + 'static,
    {
        let exchange = self.begin(&request, None);
        let sent = self.inner.send_multipart::<Bytes>(request);
        async move { watch(exchange, sent).await.map(read) }
    }

    fn send_streaming<T>(
        &self,
        request: Request<T>,
    ) -> impl Future<Output = Result<StreamingResponse>> + WasmCompatSend
    where
        T: Into<Bytes> + WasmCompatSend,
    {
        let request: Request<Bytes> = request.map(Into::into);
        let exchange = self.begin(&request, Some(request.body()));
        async move {
            let (response, reading) = watch(exchange, self.inner.send_streaming(request)).await?;
            Ok(response.map(|body| -> rig_core::http_client::BoxedStream {
                match reading {
                    Some(reading) if reading.span.is_some() => Box::pin(Tapped { body, reading }),
                    _ => body,
                }
            }))
        }
    }
}

pin_project! {
    /// A stream that is seen while it is read.
    struct Tapped<S> {
        #[pin]
        body: S,
        reading: Reading,
    }
}

impl<S: Stream<Item = Result<Bytes>>> Stream for Tapped<S> {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let this = self.project();
        let chunk = ready!(this.body.poll_next(context));
        match &chunk {
            Some(Ok(bytes)) => this.reading.piece(bytes.clone()),
            Some(Err(error)) => this.reading.failed(error),
            None => this.reading.end(),
        }
        Poll::Ready(chunk)
    }
}
