//! A loopback PandaProbe backend: it stores as the real one does, refuses what that one would lose, and misbehaves
//! when scripted to.

mod answer;
mod check;
mod route;
mod store;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use serde_json::Value;

pub use answer::Answer;

use crate::{
    Recorded,
    loopback::{Connection, Peer, Server, respond},
    recorded::Log,
    wait,
};
use route::{Outcome, Settings};
use store::Store;

/// A running backend. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone)]
#[must_use = "the backend stops when this is dropped"]
pub struct Backend {
    shared: Arc<Shared>,
    server: Arc<Server>,
}

/// A request that was refused as wrong in itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rejected {
    /// The request.
    pub request: Recorded,
    /// The status answered.
    pub status: u16,
    /// What was wrong, as `field: message` where a field was.
    pub errors: Vec<String>,
}

impl Backend {
    /// Starts a backend on a free loopback port.
    pub fn start() -> Self {
        Self::start_at(0)
    }

    /// Starts a backend on this loopback port, where none was before.
    ///
    /// # Panics
    ///
    /// If the port is taken.
    pub fn start_at(port: u16) -> Self {
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        let server = Server::start(port, move |peer, request| Arc::clone(&state).handle(peer, request));
        Self { shared, server: Arc::new(server) }
    }

    /// `http://127.0.0.1:PORT`, the endpoint to configure.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Answers the next requests with these, in order of arrival, and normally after them.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        let answers: Vec<Answer> = answers.into_iter().collect();
        self.script_with(move |_, nth| answers.get(nth).cloned().unwrap_or(Answer::Normal));
    }

    /// Asks `script` what to answer: the request, and how many came before it since this call.
    pub fn script_with(&self, script: impl Fn(&Recorded, usize) -> Answer + Send + Sync + 'static) {
        let mut state = self.shared.state();
        state.script = Some(Arc::new(script));
        state.scripted = 0;
    }

    /// Accepts no other API key than this one. Before, it accepts any.
    pub fn expect_key(&self, key: &str) {
        self.shared.state().settings.key = Some(key.to_owned());
    }

    /// Lets new traces be found by spans, patches, scores and reads only after `delay`, as persistence takes its time.
    ///
    /// What [`trace`](Self::trace) and [`traces`](Self::traces) show is not delayed.
    pub fn visible_after(&self, delay: Duration) {
        self.shared.state().settings.visible_after = delay;
    }

    /// Every request so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log.snapshot()
    }

    /// The requests of this method and path, oldest first.
    #[must_use]
    pub fn requests_to(&self, method: &str, path: &str) -> Vec<Recorded> {
        let mut requests = self.requests();
        requests.retain(|request| request.method == method && request.path == path);
        requests
    }

    /// The requests that were refused as wrong in themselves, oldest first. Scripted refusals are not among them.
    #[must_use]
    pub fn rejected(&self) -> Vec<Rejected> {
        self.shared.state().rejected.clone()
    }

    /// The trace of this id as stored: upserts applied, defaults filled in.
    #[must_use]
    pub fn trace(&self, id: &str) -> Option<Value> {
        self.shared.state().store.trace(&id.to_lowercase())
    }

    /// All traces as stored, in the order in which they first came.
    #[must_use]
    pub fn traces(&self) -> Vec<Value> {
        self.shared.state().store.traces()
    }

    /// All scores as stored, in the order in which they came.
    #[must_use]
    pub fn scores(&self) -> Vec<Value> {
        self.shared.state().store.scores().to_vec()
    }

    /// Blocks until at least `traces` traces are stored, and returns them.
    ///
    /// # Panics
    ///
    /// If they are not there after `timeout`. The message says what came instead.
    #[track_caller]
    pub fn wait_for(&self, traces: usize, timeout: Duration) -> Vec<Value> {
        let there = self.wait_until(timeout, |backend| backend.shared.state().store.len() >= traces);
        assert!(there, "{}", self.shortfall(traces));
        self.traces()
    }

    /// [`wait_for`](Self::wait_for) without blocking the runtime.
    ///
    /// # Panics
    ///
    /// As [`wait_for`](Self::wait_for).
    pub async fn wait_for_async(&self, traces: usize, timeout: Duration) -> Vec<Value> {
        let enough = move |backend: &Self| backend.shared.state().store.len() >= traces;
        let there = self.wait_until_async(timeout, enough).await;
        assert!(there, "{}", self.shortfall(traces));
        self.traces()
    }

    /// Blocks until `done` holds, at most for `timeout`; says whether it does.
    #[must_use]
    pub fn wait_until(&self, timeout: Duration, done: impl Fn(&Self) -> bool) -> bool {
        wait::until(timeout, || done(self))
    }

    /// [`wait_until`](Self::wait_until) without blocking the runtime, on which the client may depend.
    pub async fn wait_until_async(
        &self,
        timeout: Duration,
        done: impl Fn(&Self) -> bool + Send + 'static,
    ) -> bool {
        let backend = self.clone();
        wait::until_async(timeout, move || done(&backend)).await
    }

    fn shortfall(&self, traces: usize) -> String {
        let requests = self.requests();
        let requests = requests.iter().map(|request| {
            let Recorded { method, path, status, .. } = request;
            format!("{method} {path} -> {status:?}")
        });
        let rejected = self.rejected().into_iter().map(|rejected| rejected.errors);
        format!(
            "{} of {traces} traces came; requests: {:?}; rejected: {:?}",
            self.traces().len(),
            requests.collect::<Vec<_>>(),
            rejected.collect::<Vec<_>>(),
        )
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("url", &self.url()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shared {
    log: Log,
    state: Mutex<State>,
}

type Script = Arc<dyn Fn(&Recorded, usize) -> Answer + Send + Sync>;

#[derive(Default)]
struct State {
    script: Option<Script>,
    scripted: usize,
    settings: Settings,
    store: Store,
    rejected: Vec<Rejected>,
}

impl Shared {
    async fn handle(self: Arc<Self>, peer: Peer, request: Request) -> Response {
        let request = Recorded::read(request, peer.port).await;
        let index = self.log.push(request.clone(), Arc::clone(&peer.connection));
        let answer = self.next_answer(&request);
        let Some(response) = self.respond(&request, answer, &peer.connection).await else {
            peer.connection.reset();
            return respond(200, &[], Body::empty());
        };
        self.finish(index, &response, &peer.connection);
        response
    }

    /// The script runs without the lock, so that it may ask the backend what it holds.
    fn next_answer(&self, request: &Recorded) -> Answer {
        let (script, nth) = {
            let mut state = self.state();
            state.scripted += 1;
            (state.script.clone(), state.scripted - 1)
        };
        script.map_or(Answer::Normal, |script| script(request, nth))
    }

    /// The response to send; `None` to reset the connection instead.
    async fn respond(&self, request: &Recorded, answer: Answer, connection: &Connection) -> Option<Response> {
        match answer {
            Answer::Normal => Some(into_response(request, &self.carry_out(request, true))),
            Answer::Status { code, headers, body } => Some(respond(code, &headers, body)),
            Answer::Hang => std::future::pending().await,
            Answer::Reset => None,
            Answer::Garbage => {
                connection.garble();
                Some(respond(200, &[], Body::empty()))
            }
            Answer::StoreThenReset => {
                self.carry_out(request, true);
                None
            }
            Answer::Slow(delay) => {
                let outcome = self.carry_out(request, true);
                tokio::time::sleep(delay).await;
                Some(into_response(request, &outcome))
            }
            Answer::AckThenForget => Some(into_response(request, &self.carry_out(request, false))),
        }
    }

    fn carry_out(&self, request: &Recorded, remember: bool) -> Outcome {
        let mut state = self.state();
        let State { settings, store, .. } = &mut *state;
        let outcome = if remember {
            route::answer(request, settings, store)
        } else {
            route::answer(request, settings, &mut store.clone())
        };
        if !outcome.errors.is_empty() {
            state.rejected.push(Rejected {
                request: request.clone(),
                status: outcome.status,
                errors: outcome.errors.clone(),
            });
        }
        outcome
    }

    fn finish(&self, index: usize, response: &Response, connection: &Connection) {
        let status = response.status().as_u16();
        self.log.answered(index, status);
        if status == 500 {
            connection.close_after_answer();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn into_response(request: &Recorded, outcome: &Outcome) -> Response {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    if outcome.status == 500 {
        let text = outcome.body.as_str().unwrap_or_default().to_owned();
        return respond(500, &[header("content-type", "text/plain; charset=utf-8")], text);
    }
    let mut headers = vec![header("content-type", "application/json")];
    headers.extend(request.header("x-request-id").map(|id| header("x-request-id", id)));
    respond(outcome.status, &headers, outcome.body.to_string())
}
