//! The tower layer that sees each call of a client.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use async_openai::{error::OpenAIError, middleware::HttpRequestFactory};
use bytes::Bytes;
use http::{
    Method,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use pandaprobe_core::{ErrorText, Handler, Outcome, Piece, Run, Scope, Span, SpanKind, watched};
use pandaprobe_wire::{Operation, WireError};
use tower::{Layer, Service};

use crate::{decoder::ExchangeDecoder, tap, usage};

/// Traces each call that passes through; made by [`OpenAiHandler::layer`](crate::OpenAiHandler::layer).
#[derive(Clone, Debug)]
pub struct OpenAiLayer {
    handler: Handler,
    include_stream_usage: bool,
}

impl OpenAiLayer {
    pub(crate) fn new(handler: Handler, include_stream_usage: bool) -> Self {
        Self { handler, include_stream_usage }
    }
}

impl<S> Layer<S> for OpenAiLayer {
    type Service = OpenAiService<S>;

    fn layer(&self, inner: S) -> OpenAiService<S> {
        OpenAiService { inner, layer: self.clone() }
    }
}

/// The service that [`OpenAiLayer`] makes.
#[derive(Clone, Debug)]
pub struct OpenAiService<S> {
    inner: S,
    layer: OpenAiLayer,
}

type CallFuture = Pin<Box<dyn Future<Output = Result<reqwest::Response, OpenAIError>> + Send>>;

impl<S> Service<HttpRequestFactory> for OpenAiService<S>
where
    S: Service<HttpRequestFactory, Response = reqwest::Response> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<OpenAIError>,
{
    type Response = reqwest::Response;
    type Error = OpenAIError;
    type Future = CallFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: HttpRequestFactory) -> CallFuture {
        if !self.layer.handler.is_enabled() {
            let answer = self.inner.call(request);
            return Box::pin(async move { answer.await.map_err(Into::into) });
        }
        let call = Arc::new(Call::new(self.layer.clone()));
        let answer = self.inner.call(call.observe(request));
        let watching = Arc::clone(&call);
        let answer = watched(answer, move |outcome| watching.aborted(outcome));
        Box::pin(async move {
            match answer.await {
                Ok(response) => Ok(call.answered(response)),
                Err(error) => {
                    let error = error.into();
                    call.failed(&error);
                    Err(error)
                }
            }
        })
    }
}

/// One logical call: all attempts of it are one span.
struct Call {
    layer: OpenAiLayer,
    /// Where the caller is. Attempts may be made elsewhere.
    scope: Scope,
    attempts: AtomicU32,
    /// Set by the first attempt; none if the call is of a kind that is not traced.
    span: OnceLock<Option<Span>>,
    /// The caller did not ask for the usage that comes.
    hides_usage: AtomicBool,
}

impl Call {
    fn new(layer: OpenAiLayer) -> Self {
        Self {
            layer,
            scope: Scope::shared(),
            attempts: AtomicU32::new(0),
            span: OnceLock::new(),
            hides_usage: AtomicBool::new(false),
        }
    }

    /// The same request, seen each time it is built.
    fn observe(self: &Arc<Self>, request: HttpRequestFactory) -> HttpRequestFactory {
        let call = Arc::clone(self);
        HttpRequestFactory::new(move || {
            let (request, call) = (request.clone(), Arc::clone(&call));
            async move {
                let mut built = request.build().await?;
                call.attempted(&mut built);
                Ok(built)
            }
        })
    }

    fn attempted(&self, request: &mut reqwest::Request) {
        if self.layer.include_stream_usage && operation(request) == Operation::Chat {
            self.hides_usage.store(usage::ask(request), Ordering::Relaxed);
        }
        if self.attempts.fetch_add(1, Ordering::Relaxed) == 0 {
            self.span.get_or_init(|| self.start(request));
        }
    }

    fn start(&self, request: &reqwest::Request) -> Option<Span> {
        let operation = operation(request);
        let (name, kind) = recorded_as(operation)?;
        let body = request.body().map_or(Some(&[][..]), reqwest::Body::as_bytes);
        let decoder = match body {
            Some(_) => ExchangeDecoder::new(operation),
            None => {
                let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
                let bytes = header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
                ExchangeDecoder::unread(operation, header(CONTENT_TYPE), bytes)
            }
        };
        let mut run = Run::new(name, kind).decoder(decoder);
        if matches!(operation, Operation::Chat | Operation::Responses) {
            run = run.turn_of_loop(base(request.url()));
        }
        let span = self.scope.clone().run(|| self.layer.handler.start(run));
        if let Some(body) = body {
            span.feed(Piece::Request(Bytes::copy_from_slice(body)));
        }
        Some(span)
    }

    fn span(&self) -> Option<Span> {
        let span = self.span.get()?.clone()?;
        let attempts = self.attempts.load(Ordering::Relaxed);
        if attempts > 1 {
            span.set_metadata("attempts", attempts);
        }
        Some(span)
    }

    fn answered(&self, response: reqwest::Response) -> reqwest::Response {
        match self.span() {
            Some(span) => tap::tapped(response, span, self.hides_usage.load(Ordering::Relaxed)),
            None => response,
        }
    }

    fn failed(&self, error: &OpenAIError) {
        if let Some(span) = self.span() {
            span.fail(text(error));
        }
    }

    fn aborted<T>(&self, outcome: Outcome<'_, T>) {
        match outcome {
            Outcome::Panicked(message) => {
                self.span().into_iter().for_each(|span| span.panicked(message.clone()))
            }
            Outcome::Dropped => self.span().into_iter().for_each(Span::cancel),
            _ => {}
        }
    }
}

/// What a request is about. Only those that ask a model for something are known.
fn operation(request: &reqwest::Request) -> Operation {
    match *request.method() {
        Method::POST => Operation::detect(request.url().path()),
        _ => Operation::Unknown,
    }
}

/// The URL of a chat or a response without what `async-openai` appends to that of the server.
fn base(url: &reqwest::Url) -> &str {
    let whole = url.as_str().split(['?', '#']).next().unwrap_or_default();
    let ends = ["/chat/completions", "/responses"];
    ends.iter().find_map(|end| whole.strip_suffix(end)).unwrap_or(whole)
}

/// The name and kind of the span of a call; none if it is of no kind that is traced.
fn recorded_as(operation: Operation) -> Option<(&'static str, SpanKind)> {
    match operation {
        Operation::Chat => Some(("openai-chat", SpanKind::Llm)),
        Operation::Responses => Some(("openai-response", SpanKind::Llm)),
        Operation::Embeddings => Some(("openai-embedding", SpanKind::Embedding)),
        Operation::Completions => Some(("openai-completion", SpanKind::Llm)),
        Operation::Images => Some(("openai-image", SpanKind::Llm)),
        Operation::Speech => Some(("openai-speech", SpanKind::Llm)),
        Operation::Transcription => Some(("openai-transcription", SpanKind::Llm)),
        Operation::Moderation => Some(("openai-moderation", SpanKind::Other)),
        _ => None,
    }
}

/// What a caller sees of an error, but with the status in the form of all other errors of a provider.
fn text(error: &OpenAIError) -> String {
    match error {
        OpenAIError::ApiError(answer) => {
            let said = &answer.api_error;
            let error = WireError {
                status: Some(answer.status_code.as_u16()),
                message: said.message.clone(),
                kind: said.r#type.clone(),
                code: said.code.clone(),
            };
            error.to_string()
        }
        other => other.error_text(),
    }
}
