//! A loopback LLM provider that answers with scripted exchanges.

mod exchange;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{extract::Request, response::Response};

pub use exchange::Exchange;

use crate::{
    Recorded,
    loopback::{Peer, Server},
    recorded::Log,
    wait,
};

/// A running provider. It answers any path, records every request, and stops when dropped.
#[must_use = "the provider stops when this is dropped"]
pub struct Provider {
    shared: Arc<Shared>,
    server: Server,
}

impl Provider {
    /// Starts a provider that answers its requests with these exchanges, in order of arrival.
    ///
    /// A request beyond the last one is answered 500, with a body that says so.
    pub fn start(exchanges: impl IntoIterator<Item = Exchange>) -> Self {
        let exchanges = Mutex::new(exchanges.into_iter().collect::<Vec<_>>().into_iter());
        Self::start_with(move |_, nth| {
            let next = exchanges.lock().unwrap_or_else(PoisonError::into_inner).next();
            next.unwrap_or_else(|| unscripted(nth))
        })
    }

    /// Starts a provider that asks `script` what to answer: the request, and how many came before it.
    pub fn start_with(script: impl Fn(&Recorded, usize) -> Exchange + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared { log: Log::default(), script: Box::new(script) });
        let state = Arc::clone(&shared);
        let server = Server::start(0, move |peer, request| Arc::clone(&state).handle(peer, request));
        Self { shared, server }
    }

    /// `http://127.0.0.1:PORT`, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Every request so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log.snapshot()
    }

    /// Blocks until `done` holds for the requests, at most for `timeout`; says whether it does.
    #[must_use]
    pub fn wait_until(&self, timeout: Duration, done: impl Fn(&[Recorded]) -> bool) -> bool {
        wait::until(timeout, || done(&self.requests()))
    }

    /// [`wait_until`](Self::wait_until) without blocking the runtime.
    pub async fn wait_until_async(
        &self,
        timeout: Duration,
        done: impl Fn(&[Recorded]) -> bool + Send + 'static,
    ) -> bool {
        let shared = Arc::clone(&self.shared);
        wait::until_async(timeout, move || done(&shared.log.snapshot())).await
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("url", &self.url()).finish_non_exhaustive()
    }
}

type Script = Box<dyn Fn(&Recorded, usize) -> Exchange + Send + Sync>;

struct Shared {
    log: Log,
    script: Script,
}

impl Shared {
    async fn handle(self: Arc<Self>, peer: Peer, request: Request) -> Response {
        let recorded = Recorded::read(request, peer.port).await;
        let nth = self.log.push(recorded.clone(), Arc::clone(&peer.connection));
        let response = (self.script)(&recorded, nth).play(&peer.connection).await;
        if let Some(status) = response.status {
            self.log.answered(nth, status);
        }
        response.response
    }
}

fn unscripted(nth: usize) -> Exchange {
    let text = format!("no exchange is scripted for request {nth}");
    Exchange::raw(500, "text/plain; charset=utf-8", text)
}
