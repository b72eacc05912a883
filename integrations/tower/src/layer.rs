//! The layer, and the service that it makes.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderName, Request, Response, request::Parts};
use http_body::Body;
use pandaprobe_core::{Client, Scope, is_enabled, set_session, set_user};
use serde_json::Value;
use tower_layer::Layer;
use tower_service::Service;

use crate::{exchange::Exchange, future::ResponseFuture, identity::Sources, root::RootTrace};

/// Gives each request of a service a scope of its own: user, session, tags and metadata for whatever the request
/// leads to, until its response was sent.
///
/// Inside of it `set_user` and `set_session` (in a middleware further in, in a handler, in the body of the response)
/// change that request and no other. A request that nobody identifies has no user, whatever was served before on its
/// connection or thread.
///
/// Without any setting the layer opens an empty scope and no trace. Settings that say where user and session come from
/// are asked in the order in which they were made; the first that gives an id counts, and none that gives one leaves
/// the slot to what is outside, or to a later `set_user`. An id that is none (empty, longer than 255 characters, not
/// UTF-8, or a header that is there more than once) **blocks** its slot: the request then has no user, rather than the
/// wrong one.
///
/// ```
/// use axum::{Router, routing::post};
/// use pandaprobe_tower::PandaProbeLayer;
///
/// # async fn chat() {}
/// let app: Router = Router::new().route("/chat", post(chat)).layer(
///     PandaProbeLayer::new().user_header("x-user-id").session_header("x-session-id").tag("http"),
/// );
/// ```
///
/// It fits every [`Service`] of [`http::Request`]s that answers with [`http::Response`]s, such as those of axum, tonic
/// and hyper. Clones share their settings until one of them is changed.
#[derive(Clone, Default)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct PandaProbeLayer {
    settings: Arc<Settings>,
}

#[derive(Clone, Default)]
struct Settings {
    scope: Scope,
    users: Sources,
    sessions: Sources,
    root: RootTrace,
}

impl PandaProbeLayer {
    /// A layer that opens an empty scope for each request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the user from a header of the request. Trust it only behind a proxy that sets it: anybody can send one.
    /// A name that no header can have is in no request.
    pub fn user_header(self, name: impl TryInto<HeaderName>) -> Self {
        self.with(|settings| settings.users.header(name))
    }

    /// Takes the session from a header of the request, as [`user_header`](Self::user_header) does.
    pub fn session_header(self, name: impl TryInto<HeaderName>) -> Self {
        self.with(|settings| settings.sessions.header(name))
    }

    /// Takes the user from an extension of the request, such as the claims that an authentication outside of this
    /// layer put there. `None`, or no such extension, gives no id.
    ///
    /// ```
    /// # use pandaprobe_tower::PandaProbeLayer;
    /// #[derive(Clone)]
    /// struct Claims {
    ///     subject: String,
    /// }
    ///
    /// let layer = PandaProbeLayer::new().user_extension(|claims: &Claims| Some(claims.subject.clone()));
    /// ```
    pub fn user_extension<T, F>(self, id: F) -> Self
    where
        T: Send + Sync + 'static,
        F: Fn(&T) -> Option<String> + Send + Sync + 'static,
    {
        self.user(move |parts| parts.extensions.get().and_then(&id))
    }

    /// Takes the session from an extension of the request, as [`user_extension`](Self::user_extension) does.
    pub fn session_extension<T, F>(self, id: F) -> Self
    where
        T: Send + Sync + 'static,
        F: Fn(&T) -> Option<String> + Send + Sync + 'static,
    {
        self.session(move |parts| parts.extensions.get().and_then(&id))
    }

    /// Takes the user from whatever a closure sees in the head of the request. `None` gives no id. A closure that
    /// panics blocks the slot.
    ///
    /// ```
    /// # use pandaprobe_tower::PandaProbeLayer;
    /// let layer = PandaProbeLayer::new()
    ///     .user(|parts| Some(parts.uri.path().strip_prefix("/users/")?.split('/').next()?.to_owned()));
    /// ```
    pub fn user<F>(self, id: F) -> Self
    where
        F: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    {
        self.with(|settings| settings.users.closure(id))
    }

    /// Takes the session from whatever a closure sees in the head of the request, as [`user`](Self::user) does.
    pub fn session<F>(self, id: F) -> Self
    where
        F: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    {
        self.with(|settings| settings.sessions.closure(id))
    }

    /// Adds a tag to the traces of each request.
    pub fn tag(self, tag: impl Into<String>) -> Self {
        self.scope(|scope| scope.tag(tag))
    }

    /// Adds tags to the traces of each request.
    pub fn tags(self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.scope(|scope| scope.tags(tags))
    }

    /// Adds metadata to the traces of each request.
    pub fn metadata(self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.scope(|scope| scope.metadata(key, value))
    }

    /// Records with `client` instead of the global one.
    pub fn client(self, client: Client) -> Self {
        self.scope(|scope| scope.client(client))
    }

    /// Whether each request is a trace; by default it is not, and what a handler records opens traces of its own.
    ///
    /// The trace is called `METHOD route`, or `METHOD path` if no [`route`](Self::route) is known. Its metadata are
    /// `http.method`, `http.route` or else `http.path`, `http.status_code`, and `rpc.grpc.status_code` of a gRPC call; never
    /// the query, a header or a body. It ends with the body of the response:
    ///
    /// | end | status | error | `metadata["pandaprobe.end"]` |
    /// |---|---|---|---|
    /// | the body was sent | `COMPLETED` | | |
    /// | the same, with a status of 500 or more | `ERROR` | `503 Service Unavailable` | |
    /// | the same, with a gRPC status of 2, 4, 12, 13, 14 or 15 | `ERROR` | `gRPC status 13 INTERNAL` | |
    /// | the service or the body returned an error | `ERROR` | the error | |
    /// | a panic (it goes on) | `ERROR` | `panicked: MESSAGE` | |
    /// | the request was dropped before it was answered | `ERROR` | `cancelled` | `cancelled` |
    /// | the body was dropped before its end | `COMPLETED` | | `stopped_by_reader` |
    ///
    /// A user who becomes known while the request is served (`set_user`) becomes the user of the trace.
    pub fn trace(self, on: bool) -> Self {
        self.with(|settings| settings.root.on = on)
    }

    /// Makes each request a trace, as [`trace`](Self::trace) does, with a name of your own. Give it few: a name is
    /// what traces are grouped by.
    ///
    /// ```
    /// # use pandaprobe_tower::PandaProbeLayer;
    /// let layer = PandaProbeLayer::new().root_trace(|parts| format!("chat over {:?}", parts.version));
    /// ```
    pub fn root_trace<F, N>(self, name: F) -> Self
    where
        F: Fn(&Parts) -> N + Send + Sync + 'static,
        N: Into<String>,
    {
        self.with(|settings| {
            settings.root.on = true;
            settings.root.name = Some(Arc::new(move |parts| Some(name(parts).into())));
        })
    }

    /// How to know the route of a request, for the name and the metadata of its trace. It opens no trace by itself.
    ///
    /// ```
    /// use axum::extract::MatchedPath;
    /// # use pandaprobe_tower::PandaProbeLayer;
    ///
    /// let layer = PandaProbeLayer::new()
    ///     .trace(true)
    ///     .route(|parts| Some(parts.extensions.get::<MatchedPath>()?.as_str().to_owned()));
    /// ```
    pub fn route<F>(self, route: F) -> Self
    where
        F: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    {
        self.with(|settings| settings.root.route = Some(Arc::new(route)))
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    fn scope(self, change: impl FnOnce(Scope) -> Scope) -> Self {
        self.with(|settings| settings.scope = change(std::mem::take(&mut settings.scope)))
    }
}

impl Settings {
    /// Opens the scope of a request, and its trace.
    fn open(&self, parts: &Parts) -> Exchange {
        let scope = self.scope.clone().open();
        let trace = scope.run(|| {
            self.sessions.find(parts).into_iter().for_each(set_session);
            self.users.find(parts).into_iter().for_each(set_user);
            self.root.start(parts)
        });
        let scope = match &trace {
            Some(trace) => scope.run(|| trace.open_scope()),
            None => scope,
        };
        Exchange::new(scope, trace, &parts.method)
    }
}

impl<S> Layer<S> for PandaProbeLayer {
    type Service = PandaProbeService<S>;

    fn layer(&self, inner: S) -> PandaProbeService<S> {
        PandaProbeService { inner, layer: self.clone() }
    }
}

impl fmt::Debug for PandaProbeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PandaProbeLayer")
            .field("users", &self.settings.users)
            .field("sessions", &self.settings.sessions)
            .field("scope", &self.settings.scope)
            .field("trace", &self.settings.root.on)
            .finish_non_exhaustive()
    }
}

/// The service that [`PandaProbeLayer`] makes.
#[derive(Clone, Debug)]
pub struct PandaProbeService<S> {
    inner: S,
    layer: PandaProbeLayer,
}

impl<S, B, ResB> Service<Request<B>> for PandaProbeService<S>
where
    S: Service<Request<B>, Response = Response<ResB>>,
    S::Error: fmt::Display,
    ResB: Body,
    ResB::Error: fmt::Display,
{
    type Response = Response<crate::ResponseBody<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !is_enabled() {
            return ResponseFuture::new(self.inner.call(request), None);
        }
        let (parts, body) = request.into_parts();
        let mut exchange = self.layer.settings.open(&parts);
        let request = Request::from_parts(parts, body);
        let answer = exchange.run(|| self.inner.call(request));
        ResponseFuture::new(answer, Some(exchange))
    }
}
