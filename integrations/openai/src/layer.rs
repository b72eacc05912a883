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
use pandaprobe_core::{
    ErrorText, Handler, Outcome, Scope, Span,
    exchange::{self, Operation, WireError},
    watched,
};
use tower::{Layer, Service};

use crate::{tap, usage};

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

    fn start(&self, request: &mut reqwest::Request) -> Option<Span> {
        let body = exchange::body_of(request);
        let url = request.url();
        let call = exchange::Call {
            operation: operation(request),
            server: &url.origin().ascii_serialization(),
            path: url.path(),
            headers: request.headers(),
        };
        self.scope.clone().run(|| call.start(&self.layer.handler, body))
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

fn operation(request: &reqwest::Request) -> Operation {
    exchange::operation(request.method(), request.url().path())
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
