//! The server: the PandaProbe API over a store, and the viewer.

mod answer;
mod events;
mod guard;
mod ingest;
mod query;
mod read;
mod room;
mod scores;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, patch, post},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot};

use crate::{Retention, Store, StoreError, view};
use events::Changes;
use guard::Guard;
use room::Room;

/// The port that is tried first.
pub const DEFAULT_PORT: u16 = 4100;

/// How often what is not to be kept is looked for.
const PRUNED_EVERY: Duration = Duration::from_secs(600);

/// How many ports are tried.
const PORTS: u16 = 100;

/// How long a body may be, in bytes.
pub const MAX_BODY_BYTES: usize = 256 << 20;

/// What a server needs to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where the store is.
    pub store: PathBuf,
    /// The address to listen on. Only a loopback address needs no token.
    pub address: IpAddr,
    /// The port; the next free one if it is taken. `None`: that of [`DEFAULT_PORT`], or the next. 0: any.
    pub port: Option<u16>,
    /// What a client must show, as `X-API-Key`, as a bearer token or as a cookie of the viewer.
    pub token: Option<String>,
    /// What is kept. What is older, or more, is removed at the start and every ten minutes.
    pub retention: Retention,
}

impl ServerConfig {
    /// A server of this machine alone, over the store in that file.
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            address: Ipv4Addr::LOCALHOST.into(),
            port: None,
            token: None,
            retention: Retention::default(),
        }
    }

    /// Another port, or the next free one if it is taken.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Another address. One that others can reach needs a token.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// What is kept.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// What a client must show.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No port is free, or there is no thread for it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Others can reach the address, and nothing keeps them out.
    #[error("{0} can be reached from other machines: give a token")]
    Open(IpAddr),
    /// A token that nobody could guess has 16 characters or more.
    #[error("a token needs 16 characters at least")]
    ShortToken,
}

/// What all requests share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) changes: Changes,
}

/// A server in this process, on a thread and a runtime of its own. It stops when this is dropped.
///
/// ```no_run
/// use pandaprobe_core::{Config, init};
/// use pandaprobe_local::LocalServer;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = LocalServer::start(".pandaprobe/traces.db")?;
/// let _guard = init(Config::new().api_key("local").project_name("mine").endpoint(server.url())?)?;
/// println!("{}", server.url());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LocalServer {
    address: SocketAddr,
    store: Store,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl LocalServer {
    /// Starts a server over the store in that file, on a loopback port.
    ///
    /// # Errors
    ///
    /// If the store cannot be opened or no port is free.
    pub fn start(store: impl Into<PathBuf>) -> Result<Self, ServerError> {
        Self::start_with(ServerConfig::new(store))
    }

    /// Starts a server.
    ///
    /// # Errors
    ///
    /// If the store cannot be opened, no port is free, or others could reach the server without a token.
    pub fn start_with(config: ServerConfig) -> Result<Self, ServerError> {
        let guard = guard::of(&config)?;
        let store = Store::open(&config.store)?;
        let listener = bind(&config)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()?;
        let shared = Shared { store: store.clone(), changes: Changes::default() };
        let thread = thread::Builder::new().name("pandaprobe-local".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else {
                    return;
                };
                shared.changes.watch(shared.store.clone());
                tokio::spawn(keep(shared.store.clone(), config.retention));
                let served = axum::serve(listener, app(shared, guard));
                tokio::select! {
                    _ = served => {}
                    _ = stopped => {}
                }
            });
            // Connections that wait for changes would wait on.
            runtime.shutdown_background();
        })?;
        Ok(Self { address, store, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it is: the endpoint for an SDK, and the address of the viewer.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Waits until the server ends by itself, which it does not.
    #[cfg(feature = "cli")]
    pub(crate) fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs what reads the store where it may take its time.
pub(crate) async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(f).await.unwrap_or(Err(StoreError::Closed))
}

/// Removes what is not to be kept, now and again.
async fn keep(store: Store, retention: Retention) {
    if retention == Retention::default() {
        return;
    }
    let mut times = tokio::time::interval(PRUNED_EVERY);
    loop {
        times.tick().await;
        match store.prune(retention).await {
            Ok(_) => {}
            Err(StoreError::Closed) => return,
            Err(error) => tracing::warn!("old traces cannot be removed: {error}"),
        }
    }
}

fn bind(config: &ServerConfig) -> io::Result<std::net::TcpListener> {
    let first = config.port.unwrap_or(DEFAULT_PORT);
    let listen = |port| -> io::Result<std::net::TcpListener> {
        let listener = std::net::TcpListener::bind((config.address, port))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let mut last = listen(first);
    for port in first.saturating_add(1)..first.saturating_add(PORTS) {
        match last {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = listen(port),
            done => return done,
        }
    }
    last
}

fn app(shared: Shared, guard: Guard) -> Router {
    let api = Router::new()
        .route("/traces", post(ingest::post_trace).get(read::traces))
        .route("/traces/analytics", get(read::analytics))
        .route("/traces/users", get(read::users))
        .route("/traces/batch/delete", post(ingest::delete_batch))
        .route("/traces/batch/tags", post(ingest::tag_batch))
        .route("/traces/{trace_id}", get(read::trace).patch(ingest::patch_trace).delete(ingest::delete_trace))
        .route("/traces/{trace_id}/spans", post(ingest::post_spans))
        .route("/traces/{trace_id}/spans/{span_id}", patch(ingest::patch_span))
        .route("/sessions", get(read::sessions))
        .route("/sessions/analytics", get(read::session_analytics))
        .route("/sessions/{session_id}", get(read::session).delete(ingest::delete_session))
        .route("/evaluations/trace-scores", post(scores::post_score).get(scores::scores))
        // A trace's scores by its id, or one score by its own: the methods tell.
        .route(
            "/evaluations/trace-scores/{id}",
            get(scores::scores_of).patch(scores::patch_score).delete(scores::delete_score),
        )
        .route("/evaluations/analytics/trace-scores/summary", get(scores::summary))
        .route("/events", get(events::stream))
        .route("/health", get(|| async { answer::json(json!({"status": "ok"})) }));
    api.merge(view::routes())
        .fallback(answer::not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(Room::default(), room::wait))
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::check))
        .with_state(shared)
}
