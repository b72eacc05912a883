//! The handler of `async-openai`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};

use async_openai::{
    Client,
    config::Config,
    middleware::{ReqwestService, retry::OpenAIRetryLayer},
};
use pandaprobe_core::{__private::text_of, ErrorText, Handler, Outcome, Run, Span, SpanKind, watched};
use serde::Serialize;
use serde_json::Value;
use tower::ServiceBuilder;

use crate::OpenAiLayer;

/// Traces `async-openai` clients: one LLM span a call, however often it is retried, with the exact request, the
/// answer (streams merged), tokens, time to first token and errors.
///
/// ```
/// use async_openai::{Client, config::OpenAIConfig};
/// use pandaprobe_openai::OpenAiHandler;
///
/// let handler = OpenAiHandler::new().session_id("conversation-123").user_id("user-abc");
/// let client: Client<OpenAIConfig> = handler.wrap(Client::new());
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenAiHandler {
    handler: Handler,
    include_stream_usage: bool,
    http: Arc<OnceLock<reqwest::Client>>,
}

impl OpenAiHandler {
    /// A handler that records with the current client, for whom scopes say.
    pub fn new() -> Self {
        Self::default()
    }

    pandaprobe_core::handler_methods!(handler);

    /// Whether to ask for the tokens of streamed chat completions: OpenAI says them only if asked to. A caller who
    /// did not ask does not see the extra chunk that brings them. Off unless switched on.
    #[must_use]
    pub fn include_stream_usage(mut self, include: bool) -> Self {
        self.include_stream_usage = include;
        self
    }

    /// Runs a tool that the model called and records it: a TOOL span with its arguments, its result, and the exact
    /// times. It is a step of the trace that is current here, else a trace of its own. What the tool itself calls is
    /// below it.
    ///
    /// ```
    /// # use pandaprobe_openai::OpenAiHandler;
    /// # async fn example(handler: OpenAiHandler) {
    /// let sum = handler.tool("add", serde_json::json!({"a": 1, "b": 2}), async { 1 + 2 }).await;
    /// # }
    /// ```
    pub fn tool<F>(&self, name: &str, arguments: Value, future: F) -> impl Future<Output = F::Output> + use<F>
    where
        F: IntoFuture,
        F::Output: Serialize,
    {
        self.step(name.to_owned(), arguments, future, finish)
    }

    /// [`tool`](Self::tool) for a future of a `Result`: `Err` makes the span an error.
    pub fn try_tool<F, T, E, How>(
        &self,
        name: &str,
        arguments: Value,
        future: F,
    ) -> impl Future<Output = Result<T, E>> + use<F, T, E, How>
    where
        F: IntoFuture<Output = Result<T, E>>,
        T: Serialize,
        E: ErrorText<How>,
    {
        self.step(name.to_owned(), arguments, future, |span, result| match result {
            Ok(value) => finish(span, value),
            Err(error) => span.fail(text_of(error)),
        })
    }

    fn step<F: IntoFuture>(
        &self,
        name: String,
        arguments: Value,
        future: F,
        finish: fn(Span, &F::Output),
    ) -> impl Future<Output = F::Output> + use<F> {
        let handler = self.handler.clone();
        async move {
            let span = handler.start(Run::new(name, SpanKind::Tool).input(arguments).tool_of_loop());
            let work = span.scope(future);
            let told = move |outcome: Outcome<'_, F::Output>| match outcome {
                Outcome::Returned(value) => finish(span, value),
                Outcome::Panicked(message) => span.panicked(message),
                _ => span.cancel(),
            };
            watched(work, told).await
        }
    }

    /// Gives back the same client, traced.
    ///
    /// It **replaces the HTTP client** of `client`, because `async-openai` does not let it be seen: proxies and
    /// timeouts that were set with `with_http_client` are lost, and so is a stack that was set with
    /// `with_http_service`. Use [`wrap_with`](Self::wrap_with) or [`layer`](Self::layer) with those. The
    /// retries that `async-openai` makes by default stay. All clients that a handler and its clones wrap share
    /// one connection pool, so wrapping a client for each request is cheap.
    ///
    /// Wrapping a client twice records each call once: the second wrap replaces the first.
    pub fn wrap<C: Config>(&self, client: Client<C>) -> Client<C> {
        let http = self.http.get_or_init(reqwest::Client::new).clone();
        self.wrap_with(client, http)
    }

    /// [`wrap`](Self::wrap) with an HTTP client of your own, for proxies, timeouts and certificates.
    pub fn wrap_with<C: Config>(&self, client: Client<C>, http: reqwest::Client) -> Client<C> {
        let service = ServiceBuilder::new()
            .layer(self.layer())
            .layer(OpenAIRetryLayer::default())
            .service(ReqwestService::new(http));
        client.with_http_service(service)
    }

    /// The layer that traces, for a tower stack of your own. It belongs outside of retries, so that a call is
    /// one span.
    ///
    /// ```
    /// use async_openai::{Client, middleware::{ReqwestService, retry::OpenAIRetryLayer}};
    /// use pandaprobe_openai::OpenAiHandler;
    ///
    /// let service = tower::ServiceBuilder::new()
    ///     .layer(OpenAiHandler::new().layer())
    ///     .layer(OpenAIRetryLayer::default())
    ///     .service(ReqwestService::new(reqwest::Client::new()));
    /// let client = Client::new().with_http_service(service);
    /// ```
    pub fn layer(&self) -> OpenAiLayer {
        OpenAiLayer::new(self.handler.clone(), self.include_stream_usage)
    }
}

/// Ends a tool's span with its result. A value that is no JSON is left out.
fn finish(span: Span, value: &impl Serialize) {
    if span.is_recorded() {
        // How a value is written is the application's code; its result must reach the caller all the same.
        let written = catch_unwind(AssertUnwindSafe(|| serde_json::to_value(value)));
        if let Ok(Ok(value)) = written {
            span.set_output(value);
        }
    }
    span.end();
}
