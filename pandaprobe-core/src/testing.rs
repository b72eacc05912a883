//! The test kit: what did a piece of code record?

use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    client::Client,
    config::Config,
    context::Scope,
    export::{MemoryExporter, Tree},
    model::{ScoreData, SpanData, TraceData},
    report::{Report, ReportKind, Stats},
    sync::{Mutex, lock},
};

/// How long [`capture`] waits for what is still open when the code returns.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs `f` and gives back what exactly that code recorded, even with other tests running in parallel: its
/// traces go to a client of its own. What it spawns belongs to it if it was handed over, with
/// [`spawn`](crate::spawn) or [`in_current_scope`](crate::InCurrentScope::in_current_scope).
///
/// What is still open a second after the code returned is ended as by a shutdown.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use pandaprobe_core::{testing::capture, trace, span};
///
/// let captured = capture(|| async {
///     trace("job").user_id("ada").scope(|_| span("step").scope(async {})).await;
/// })
/// .await;
/// assert_eq!(captured.tree(), "job COMPLETED user=ada\n└─ OTHER step OK\n");
/// # }
/// ```
pub async fn capture<F, Fut>(f: F) -> Captured<Fut::Output>
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    capture_with(Config::new(), f).await
}

/// [`capture`] with a configuration of your own; its exporter and `on_error` are replaced.
pub async fn capture_with<F, Fut>(config: Config, f: F) -> Captured<Fut::Output>
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    let kept = MemoryExporter::default();
    let reports: Arc<Mutex<Vec<Report>>> = Arc::default();
    let heard = Arc::clone(&reports);
    let config = config.exporter(kept.clone()).on_error(move |report| lock(&heard).push(report.clone()));
    let client = Client::new(config).ok();
    let scope = client.iter().fold(Scope::new(), |scope, client| scope.client(client.clone()));
    let output = scope.scope(async { f().await }).await;
    let stats = match &client {
        Some(client) => settle(client).await,
        None => Stats::default(),
    };
    let reports = lock(&reports).clone();
    Captured { output, traces: kept.traces(), scores: kept.scores(), exporter: kept, reports, stats }
}

async fn settle(client: &Client) -> Stats {
    let begun = Instant::now();
    let mut before = Stats::default();
    while begun.elapsed() < PATIENCE {
        let _ = client.flush_async(PATIENCE).await;
        before = client.stats();
        if before.open == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let _ = client.shutdown(Duration::from_secs(5));
    Stats { open: before.open, ..client.stats() }
}

/// What a piece of code recorded.
#[non_exhaustive]
pub struct Captured<T> {
    /// What the code returned.
    pub output: T,
    /// Its traces, in order of their end, as a backend has them after all later spans and updates.
    pub traces: Vec<TraceData>,
    /// Its scores.
    pub scores: Vec<ScoreData>,
    /// Everything as it would have gone over the wire.
    pub exporter: MemoryExporter,
    /// What was reported to `on_error`.
    pub reports: Vec<Report>,
    /// The client's counters. `open` is what was still open when [`capture`] stopped waiting.
    pub stats: Stats,
}

impl<T> Captured<T> {
    /// All traces as trees, without durations: the same each time, fit for snapshots.
    pub fn tree(&self) -> String {
        self.traces.iter().map(|trace| Tree::new(trace).times(false).to_string()).collect()
    }

    /// The one trace of that name.
    ///
    /// # Panics
    ///
    /// With the trees of what was recorded, if there is none or more than one.
    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion of a test kit")]
    pub fn trace(&self, name: &str) -> &TraceData {
        let mut named = self.traces.iter().filter(|trace| trace.name == name);
        match (named.next(), named.next()) {
            (Some(trace), None) => trace,
            (found, _) => {
                let how_many = if found.is_some() { "several traces are" } else { "no trace is" };
                panic!("{how_many} called {name:?}; recorded:\n{}", self.tree())
            }
        }
    }

    /// The one span of that name.
    ///
    /// # Panics
    ///
    /// As [`trace`](Self::trace).
    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion of a test kit")]
    pub fn span(&self, name: &str) -> &SpanData {
        let mut named = self.traces.iter().flat_map(|trace| &trace.spans).filter(|span| span.name == name);
        match (named.next(), named.next()) {
            (Some(span), None) => span,
            (found, _) => {
                let how_many = if found.is_some() { "several spans are" } else { "no span is" };
                panic!("{how_many} called {name:?}; recorded:\n{}", self.tree())
            }
        }
    }

    /// Checks that the trees are these, [as printed](Self::tree).
    ///
    /// # Panics
    ///
    /// With both, if they are not.
    #[track_caller]
    pub fn assert_tree(&self, expected: &str) {
        let tree = self.tree();
        assert!(tree == expected, "expected:\n{expected}\nrecorded:\n{tree}");
    }

    /// Checks that every trace belongs to this user, or, with `None`, to none.
    ///
    /// # Panics
    ///
    /// With the trees, if one does not.
    #[track_caller]
    pub fn assert_user(&self, user: Option<&str>) {
        let others = self.traces.iter().filter(|trace| trace.user_id.as_deref() != user).count();
        assert!(others == 0, "{others} traces are not of {user:?}; recorded:\n{}", self.tree());
    }

    /// Checks that nothing was dropped, refused or repaired.
    ///
    /// # Panics
    ///
    /// With what was reported and the trees, if something was.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        let (dropped, reports) = (&self.stats.dropped, &self.reports);
        let fine = dropped.is_empty() && reports.is_empty();
        assert!(fine, "dropped: {dropped:?}, reported: {reports:?}; recorded:\n{}", self.tree());
    }

    /// How often something of that kind was reported.
    pub fn reported(&self, kind: ReportKind) -> usize {
        self.reports.iter().filter(|report| report.kind == kind).count()
    }
}

impl<T> fmt::Debug for Captured<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured").field("traces", &self.traces).finish_non_exhaustive()
    }
}
