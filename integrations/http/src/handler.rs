//! The handler of HTTP clients.

use std::{fmt, sync::Arc};

use http::{HeaderMap, Method};
use pandaprobe_core::{
    Handler, Span,
    exchange::{self, Call, Operation, Sent},
};

use crate::HttpLayer;

/// Traces the calls of model providers that pass through an HTTP client: one span a call, with the exact request, the
/// answer (streams merged), tokens, time to first token and errors.
///
/// It is a middleware of [`reqwest_middleware`]; [`layer`](Self::layer) makes the layer for `tower` stacks of
/// [`http`](https://docs.rs/http) requests.
///
/// ```
/// use pandaprobe_http::HttpHandler;
/// use reqwest_middleware::ClientBuilder;
///
/// let handler = HttpHandler::new().session_id("conversation-123").user_id("user-abc");
/// let client = ClientBuilder::new(reqwest::Client::new()).with(handler).build();
/// ```
///
/// A clone with another user or session shares all else, so a server can keep one handler for its client, and say
/// whose activity a request is with [scopes](pandaprobe_core::user).
#[derive(Clone, Default)]
pub struct HttpHandler {
    handler: Handler,
    detect: Option<Arc<Detect>>,
}

type Detect = dyn Fn(&str) -> Operation + Send + Sync;

impl HttpHandler {
    /// A handler that records with the current client, for whom scopes say.
    pub fn new() -> Self {
        Self::default()
    }

    pandaprobe_core::handler_methods!(handler);

    /// Says what the requests to a path are about, instead of [`Operation::detect`]: for servers whose paths are not
    /// those of the provider. [`Operation::Unknown`] is not recorded.
    ///
    /// ```
    /// use pandaprobe_http::{HttpHandler, Operation};
    ///
    /// let handler = HttpHandler::new().detect(|path| match path {
    ///     "/llm/claude" => Operation::AnthropicMessages,
    ///     other => Operation::detect(other),
    /// });
    /// ```
    #[must_use]
    pub fn detect(mut self, detect: impl Fn(&str) -> Operation + Send + Sync + 'static) -> Self {
        self.detect = Some(Arc::new(detect));
        self
    }

    /// The layer that traces, for a `tower` stack of your own. It belongs outside of retries, so that a call is one
    /// span, and outside of decompression, so that answers can be read.
    ///
    /// ```
    /// use pandaprobe_http::HttpHandler;
    /// use tower_layer::Layer as _;
    /// # struct Client;
    ///
    /// let client = HttpHandler::new().user_id("user-abc").layer().layer(Client);
    /// ```
    pub fn layer(&self) -> HttpLayer {
        HttpLayer::new(self.clone())
    }

    /// What a request is about. Only a POST asks a model for something.
    pub(crate) fn operation(&self, method: &Method, path: &str) -> Operation {
        match (&self.detect, method) {
            _ if !self.handler.is_enabled() => Operation::Unknown,
            (Some(detect), &Method::POST) => detect(path),
            _ => exchange::operation(method, path),
        }
    }

    /// Starts the span of a call in the current scope.
    pub(crate) fn start(
        &self,
        operation: Operation,
        server: &str,
        path: &str,
        headers: &HeaderMap,
        body: Sent,
    ) -> Option<Span> {
        Call { operation, server, path, headers }.start(&self.handler, body)
    }
}

impl fmt::Debug for HttpHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHandler").field("handler", &self.handler).finish_non_exhaustive()
    }
}
