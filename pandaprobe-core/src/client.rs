//! Clients: who records, and where it goes.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    config::{Config, ConfigError, Target},
    context,
    export::{Exporter, HttpExporter},
    model::{Score, ScoreData, TraceData, TraceId},
    pipeline::{Intake, Pipeline},
    report::{ReportKind, Reporter, Stats},
};

/// Records, and delivers what was recorded, on two threads of its own. Cheap to clone; several may live side
/// by side. When the last clone is dropped, the client shuts down as [`ClientGuard`] does.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    pipeline: Option<Pipeline>,
    reporter: Arc<Reporter>,
    shutdown_timeout: Duration,
    is_shut_down: AtomicBool,
}

/// Items were still waiting when the time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{left} items were not delivered in time")]
#[non_exhaustive]
pub struct Undelivered {
    /// How many, at least: what had not become an item by then is counted as one for each trace.
    pub left: u64,
    /// How many items are on disk: the next client that uses the same [spool](Config::spool) delivers them.
    pub spooled: u64,
}

impl Client {
    /// Makes a client. Without [`exporter`](Config::exporter) it delivers to the PandaProbe backend.
    ///
    /// # Errors
    ///
    /// When there is no exporter and no API key or project name, or one that can never work; when the HTTP
    /// client or a thread cannot be made.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let reporter = Arc::new(Reporter::new(config.on_error.clone(), config.debug));
        let pipeline = match exporter(&config, &reporter)? {
            Some(exporter) => Some(Pipeline::start(&config, exporter, Arc::clone(&reporter))?),
            None => None,
        };
        if pipeline.is_some() {
            ENABLED.fetch_add(1, Ordering::Relaxed);
        }
        let shutdown_timeout = config.shutdown_timeout;
        Ok(Self {
            inner: Arc::new(Inner {
                pipeline,
                reporter,
                shutdown_timeout,
                is_shut_down: AtomicBool::new(false),
            }),
        })
    }

    /// Whether the client records anything.
    pub fn is_enabled(&self) -> bool {
        self.inner.pipeline.is_some()
    }

    /// Waits until everything that has ended by now is delivered or dropped, and leaves alone what is open.
    /// It blocks the thread; see [`flush_async`](Self::flush_async).
    ///
    /// # Errors
    ///
    /// When `timeout` passes before, and at once when the backend refuses the key or the quota is used up.
    pub fn flush(&self, timeout: Duration) -> Result<(), Undelivered> {
        self.wait(None, timeout)
    }

    /// [`flush`](Self::flush) for one trace: waits until what has ended of it by now is delivered or dropped, whatever becomes
    /// of others.
    ///
    /// ```
    /// use pandaprobe_core::{Client, Config, MemoryExporter};
    /// use std::time::Duration;
    ///
    /// # let client = Client::new(Config::new().exporter(MemoryExporter::default()))?;
    /// let id = client.trace("invoice").run(|trace| trace.id());
    /// client.flush_trace(id, Duration::from_secs(2))?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush). `left` counts items of other traces too.
    pub fn flush_trace(
        &self,
        trace_id: impl Into<Option<TraceId>>,
        timeout: Duration,
    ) -> Result<(), Undelivered> {
        trace_id.into().map_or(Ok(()), |id| self.wait(Some(id), timeout))
    }

    fn wait(&self, of: Option<TraceId>, timeout: Duration) -> Result<(), Undelivered> {
        let Some(pipeline) = &self.inner.pipeline else {
            return Ok(());
        };
        if pipeline.flush(of, timeout) { Ok(()) } else { Err(self.undelivered()) }
    }

    /// [`flush`](Self::flush) for asynchronous code, in any runtime: a short-lived thread waits.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush), and when no thread can be had.
    pub async fn flush_async(&self, timeout: Duration) -> Result<(), Undelivered> {
        self.wait_async(None, timeout).await
    }

    /// [`flush_trace`](Self::flush_trace) for asynchronous code, in any runtime: a short-lived thread waits.
    ///
    /// # Errors
    ///
    /// As [`flush_trace`](Self::flush_trace), and when no thread can be had.
    pub async fn flush_trace_async(
        &self,
        trace_id: impl Into<Option<TraceId>>,
        timeout: Duration,
    ) -> Result<(), Undelivered> {
        match trace_id.into() {
            Some(id) => self.wait_async(Some(id), timeout).await,
            None => Ok(()),
        }
    }

    async fn wait_async(&self, of: Option<TraceId>, timeout: Duration) -> Result<(), Undelivered> {
        if self.inner.pipeline.is_none() {
            return Ok(());
        }
        let (done, wait) = oneshot::channel();
        let client = self.clone();
        let waiting = thread::Builder::new().name("pandaprobe-flush".to_owned()).spawn(move || {
            let _ = done.send(client.wait(of, timeout));
        });
        match waiting {
            Ok(_) => wait.await.unwrap_or_else(|_| Err(self.undelivered())),
            Err(_) => Err(self.undelivered()),
        }
    }

    /// Ends what is open with what it has, delivers, and stops. What is recorded later with this client is
    /// dropped and counted. A second call waits for the first.
    ///
    /// # Errors
    ///
    /// When `timeout` passes before everything is delivered, and at once when the backend refuses the key or the quota is used up;
    /// the rest is dropped and counted.
    pub fn shutdown(&self, timeout: Duration) -> Result<(), Undelivered> {
        match self.inner.shutdown(timeout) {
            0 => Ok(()),
            left => Err(Undelivered { left, spooled: self.stats().spooled }),
        }
    }

    /// What became of everything that was recorded.
    pub fn stats(&self) -> Stats {
        self.inner.pipeline.as_ref().map_or_else(|| self.inner.reporter.stats(), Pipeline::stats)
    }

    /// Scores a trace: a number from 0 to 1, a `bool`, or a label, with a reason if it is a [`Score`]. A score of a trace that is still open, or
    /// was not delivered yet, follows it.
    ///
    /// ```
    /// # use pandaprobe_core::{Client, Config, MemoryExporter};
    /// # let client = Client::new(Config::new().exporter(MemoryExporter::default()))?;
    /// # let trace_id = client.trace("answer").run(|trace| trace.id());
    /// client.score(trace_id, "helpfulness", 0.9);
    /// client.score(trace_id, "grounded", true);
    /// client.score(trace_id, "tone", pandaprobe_core::Score::from("friendly").reason("it says thanks"));
    /// # Ok::<_, pandaprobe_core::ConfigError>(())
    /// ```
    pub fn score(
        &self,
        trace_id: impl Into<Option<TraceId>>,
        name: impl Into<String>,
        score: impl Into<Score>,
    ) {
        let (Some(pipeline), Some(trace_id)) = (&self.inner.pipeline, trace_id.into()) else {
            return;
        };
        match ScoreData::new(trace_id, name, score) {
            Some(score) => pipeline.score(score),
            None => self.inner.reporter.report(ReportKind::InvalidScore, "a score is a number from 0 to 1"),
        }
    }

    /// Sends a trace that was assembled elsewhere, with its spans, as it is: sampling, `before_send`, redaction and limits
    /// apply, scopes do not. What it says of environment and release comes before the configuration. An id of a user or
    /// session that is none is left out, and reported.
    pub fn log_trace(&self, trace: TraceData) {
        if let Some(pipeline) = &self.inner.pipeline {
            pipeline.log(trace);
        }
    }

    fn undelivered(&self) -> Undelivered {
        let Stats { queued, spooled, .. } = self.stats();
        Undelivered { left: queued, spooled }
    }

    pub(crate) fn intake(&self) -> Option<&Intake> {
        self.inner.pipeline.as_ref().map(Pipeline::intake)
    }

    pub(crate) fn report(&self, kind: ReportKind, message: impl Into<String>) {
        self.inner.reporter.report(kind, message);
    }

    /// Takes over now what another client left in the spool.
    fn adopt(&self) {
        if let Some(pipeline) = &self.inner.pipeline {
            pipeline.adopt();
        }
    }

    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("enabled", &self.is_enabled()).finish_non_exhaustive()
    }
}

impl Inner {
    fn shutdown(&self, timeout: Duration) -> u64 {
        let Some(pipeline) = &self.pipeline else {
            return 0;
        };
        if !self.is_shut_down.swap(true, Ordering::AcqRel) {
            ENABLED.fetch_sub(1, Ordering::Relaxed);
        }
        pipeline.shutdown(timeout)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown(self.shutdown_timeout);
    }
}

/// `None` for a client that is switched off.
fn exporter(config: &Config, reporter: &Reporter) -> Result<Option<Arc<dyn Exporter>>, ConfigError> {
    if !config.enabled {
        return Ok(None);
    }
    if let Some(exporter) = &config.exporter {
        return Ok(Some(Arc::clone(exporter)));
    }
    match Target::of(config)? {
        Some(target) => Ok(Some(Arc::new(HttpExporter::new(target, config)?))),
        None => {
            let why = "PANDAPROBE_API_KEY or PANDAPROBE_PROJECT_NAME is not set, so nothing is recorded";
            reporter.report(ReportKind::SwitchedOff, why);
            Ok(None)
        }
    }
}

/// Keeps the global client alive. When it is dropped, everything that is open is ended, everything is
/// delivered if that takes no longer than [`shutdown_timeout`](Config::shutdown_timeout), and the client stops.
#[derive(Debug)]
#[must_use = "dropping the guard at once shuts the client down: bind it to a name in main"]
pub struct ClientGuard {
    client: Client,
}

impl ClientGuard {
    /// The client that the guard keeps.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        uninstall(&self.client);
        let _ = self.client.shutdown(self.client.inner.shutdown_timeout);
    }
}

/// Makes a client of `config` and installs it as the global one. A client that was installed before is shut
/// down, after the new one is in its place.
///
/// # Errors
///
/// As [`Client::new`]; the client that was installed before then stays.
pub fn init(config: Config) -> Result<ClientGuard, ConfigError> {
    let client = Client::new(config)?;
    if let Some(old) = install(Some(client.clone())) {
        let _ = old.shutdown(old.inner.shutdown_timeout);
        // What it could not deliver is for this one.
        client.adopt();
    }
    Ok(ClientGuard { client })
}

static GLOBAL: RwLock<Option<Client>> = RwLock::new(None);

/// How many clients record, and one more until the environment was looked at. Zero means that every recording
/// call can stop at once.
static ENABLED: AtomicUsize = AtomicUsize::new(1);

static LOOKED_AT_ENVIRONMENT: AtomicU8 = AtomicU8::new(NO);
const NO: u8 = 0;
const YES: u8 = 1;

/// Whether anything can be recorded at all: one atomic load. `false` once no client is enabled, neither the global
/// one nor one of your own; until the first call that records looked at the environment it is `true`.
///
/// ```
/// if pandaprobe_core::is_enabled() {
///     // what only recording needs
/// }
/// ```
pub fn anything_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed) > 0
}

/// The client that records here: that of the innermost scope that names one, else the global one. `None` if nothing is
/// recorded.
///
/// ```
/// if let Some(client) = pandaprobe_core::current_client() {
///     std::thread::spawn(move || client.trace("elsewhere").run(|_| ()));
/// }
/// ```
pub fn current_client() -> Option<Client> {
    current()
}

/// The client of the current scope, else the global one, else one made from the environment: that is tried
/// once, on the first call without a client.
pub(crate) fn current() -> Option<Client> {
    if !anything_enabled() {
        return None;
    }
    context::client().or_else(global).or_else(from_environment).filter(Client::is_enabled)
}

/// The client of the current scope, else the global one, even if it was shut down.
fn installed() -> Option<Client> {
    context::client().or_else(global)
}

/// Reports what concerns no client in particular to the one that is current.
pub(crate) fn report(kind: ReportKind, message: impl Into<String>) {
    match context::client() {
        Some(client) => client.report(kind, message),
        None => report_to_global(kind, message),
    }
}

/// Reports without a look at what is current.
pub(crate) fn report_to_global(kind: ReportKind, message: impl Into<String>) {
    match global() {
        Some(client) => client.report(kind, message),
        None => crate::report::to_log(kind, message.into()),
    }
}

fn global() -> Option<Client> {
    GLOBAL.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn install(client: Option<Client>) -> Option<Client> {
    environment_was_looked_at();
    std::mem::replace(&mut *GLOBAL.write().unwrap_or_else(PoisonError::into_inner), client)
}

fn uninstall(client: &Client) {
    let mut global = GLOBAL.write().unwrap_or_else(PoisonError::into_inner);
    if global.as_ref().is_some_and(|installed| installed.same(client)) {
        *global = None;
    }
}

fn environment_was_looked_at() -> bool {
    let first = LOOKED_AT_ENVIRONMENT.swap(YES, Ordering::AcqRel) == NO;
    if first {
        ENABLED.fetch_sub(1, Ordering::Relaxed);
    }
    first
}

fn from_environment() -> Option<Client> {
    if LOOKED_AT_ENVIRONMENT.load(Ordering::Acquire) == YES {
        return None;
    }
    let made = Config::from_env().and_then(Client::new);
    match made {
        Ok(client) => {
            let mut global = GLOBAL.write().unwrap_or_else(PoisonError::into_inner);
            environment_was_looked_at();
            let installed = global.get_or_insert_with(|| client.clone()).clone();
            // Another thread may have been faster; the loser is shut down with the lock released.
            drop(global);
            drop(client);
            Some(installed)
        }
        Err(error) => {
            environment_was_looked_at();
            tracing::warn!(target: "pandaprobe", "nothing is recorded: {error}");
            None
        }
    }
}

/// [`Client::flush`] of the current client. Without one there is nothing to wait for.
///
/// # Errors
///
/// When `timeout` passes before everything is delivered.
pub fn flush(timeout: Duration) -> Result<(), Undelivered> {
    installed().map_or(Ok(()), |client| client.flush(timeout))
}

/// [`Client::flush_async`] of the current client. Without one there is nothing to wait for.
///
/// # Errors
///
/// When `timeout` passes before everything is delivered.
pub async fn flush_async(timeout: Duration) -> Result<(), Undelivered> {
    match installed() {
        Some(client) => client.flush_async(timeout).await,
        None => Ok(()),
    }
}

/// [`Client::shutdown`] of the current client.
///
/// # Errors
///
/// When `timeout` passes before everything is delivered; the rest is dropped and counted.
pub fn shutdown(timeout: Duration) -> Result<(), Undelivered> {
    installed().map_or(Ok(()), |client| client.shutdown(timeout))
}

/// [`Client::score`] of the current client.
pub fn score(trace_id: impl Into<Option<TraceId>>, name: impl Into<String>, score: impl Into<Score>) {
    if let Some(client) = current() {
        client.score(trace_id, name, score);
    }
}

/// [`Client::stats`] of the current client; all zero without one.
pub fn stats() -> Stats {
    installed().map(|client| client.stats()).unwrap_or_default()
}

/// [`Client::log_trace`] of the current client.
pub fn log_trace(trace: TraceData) {
    if let Some(client) = current() {
        client.log_trace(trace);
    }
}
