//! What is told when something was lost, refused or repaired: kinds, counters and the log.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    fmt,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::{
    config::OnError,
    sync::{Mutex, lock},
};

/// Why something was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DropReason {
    /// More items waited for delivery than `max_queue_size` or `max_buffered_bytes` allow; the oldest went.
    QueueFull,
    /// What was recorded did not fit into `max_buffered_bytes`, even with an empty queue.
    BufferFull,
    /// The backend refused it for good, or asked for something that it can never have.
    Rejected,
    /// Delivery failed until `retry_deadline` had passed.
    RetriesExhausted,
    /// It was not delivered before the client was shut down.
    Shutdown,
    /// The spool had reached [`max_spool_bytes`](crate::Config::max_spool_bytes); the oldest went.
    SpoolFull,
    /// What the spool held of it was damaged.
    SpoolDamaged,
    /// It was recorded after the client had been shut down.
    AfterShutdown,
    /// It could not be made into JSON.
    Unserialisable,
    /// [`Sampling`](crate::Sampling) did not choose its trace. Nobody is told; it is counted alone.
    Sampled,
    /// [`before_send`](crate::Config::before_send) withheld it, or panicked. It is counted alone.
    BeforeSend,
}

impl DropReason {
    const ALL: [Self; 11] = [
        Self::SpoolFull,
        Self::SpoolDamaged,
        Self::QueueFull,
        Self::BufferFull,
        Self::Rejected,
        Self::RetriesExhausted,
        Self::Shutdown,
        Self::AfterShutdown,
        Self::Unserialisable,
        Self::Sampled,
        Self::BeforeSend,
    ];
}

/// What kind of thing is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ReportKind {
    /// Something was not delivered and never will be.
    Dropped(DropReason),
    /// The spool could not be written or read. What could not be written is held in memory instead.
    SpoolFailed,
    /// An attempt to deliver failed and will be repeated.
    Retrying,
    /// The backend refuses the key, or the quota is used up. Everything waits and is tried rarely.
    Denied,
    /// `set_user` or `set_session` was called where it could have landed on other users: outside any scope, in
    /// a spawned task or on another thread than the one that set the process default. It changed nothing.
    IdentityRefused,
    /// `set_user` or `set_session` changed a value while a trace begun under the old one was open.
    IdentityChangedWhileOpen,
    /// A user or session id was empty, too long or held a NUL; what it was meant for has none.
    InvalidId,
    /// Something began where nobody knows whose it is, such as in a tool that another run of its agent polls; it has no
    /// user, session or place in a trace from there.
    IdentityWithheld,
    /// A scope guard was seen from another task than the one that entered it, and was ignored there.
    ForeignGuard,
    /// A trace never ended and was sent with what it had when it reached `max_trace_age`.
    TraceForgotten,
    /// A value was set on a span or trace that had already been sent.
    LateValue,
    /// A run that no handler knows was reported as ended.
    UnknownRun,
    /// A callback or decoder panicked; the panic was caught.
    Panicked,
    /// The client was configured so that it does nothing.
    SwitchedOff,
    /// A score was not a number from 0 to 1.
    InvalidScore,
}

const OTHER_KINDS: [ReportKind; 14] = [
    ReportKind::SpoolFailed,
    ReportKind::Retrying,
    ReportKind::Denied,
    ReportKind::IdentityRefused,
    ReportKind::IdentityChangedWhileOpen,
    ReportKind::InvalidId,
    ReportKind::IdentityWithheld,
    ReportKind::ForeignGuard,
    ReportKind::TraceForgotten,
    ReportKind::LateValue,
    ReportKind::UnknownRun,
    ReportKind::Panicked,
    ReportKind::SwitchedOff,
    ReportKind::InvalidScore,
];

fn index(kind: ReportKind) -> usize {
    let all = DropReason::ALL.map(ReportKind::Dropped).into_iter().chain(OTHER_KINDS);
    all.into_iter().position(|k| k == kind).unwrap_or(0)
}

/// Something that was lost, refused or repaired.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What kind of thing it is.
    pub kind: ReportKind,
    /// How many items it is about.
    pub count: u64,
    /// The particulars. It holds no recorded content and no key.
    pub message: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

/// What became of everything that a client recorded, since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Traces that were begun.
    pub traces: u64,
    /// Those of them that became a part of another, as turns and tools of a tool loop.
    pub joined: u64,
    /// Traces of which something is still open, or that are held for what may follow in a tool loop.
    pub open: u64,
    /// Items (traces, blocks of spans, updates, scores) that are ready and were not delivered yet.
    pub queued: u64,
    /// Those of them that are on disk, and survive the process.
    pub spooled: u64,
    /// Items that the exporter took.
    pub delivered: u64,
    /// Attempts that failed and were repeated.
    pub retried: u64,
    /// Bytes held between recording and delivery.
    pub buffered_bytes: u64,
    /// Items that were not delivered and never will be, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Everything else that was reported, by kind.
    pub reports: BTreeMap<ReportKind, u64>,
}

impl Stats {
    /// All items that were dropped, whatever the reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }
}

/// Reports of a kind that no client hears of: to the log alone.
pub(crate) fn to_log(kind: ReportKind, message: String) {
    speak(Told { on_error: None, debug: false, log: true, report: Report { kind, count: 1, message } });
}

/// Runs `f`, which may hold a lock, and tells only then what it reported: whoever hears of it may come back here.
pub(crate) fn afterwards<T>(f: impl FnOnce() -> T) -> T {
    let outermost = WAITING.with_borrow_mut(|waiting| {
        let outermost = waiting.is_none();
        waiting.get_or_insert_default();
        outermost
    });
    let told = Waiting(outermost);
    let result = f();
    drop(told);
    result
}

/// Tells what waits, also if what it waited for panicked.
struct Waiting(bool);

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.0 {
            let waiting = WAITING.with_borrow_mut(Option::take);
            waiting.into_iter().flatten().for_each(speak);
        }
    }
}

/// A report and who is to hear it.
struct Told {
    on_error: Option<OnError>,
    debug: bool,
    log: bool,
    report: Report,
}

fn speak(told: Told) {
    let now = WAITING.try_with(|waiting| match &mut *waiting.borrow_mut() {
        Some(waiting) => {
            waiting.push(told);
            None
        }
        None => Some(told),
    });
    // Whoever hears of it may cause the next report; that one is only counted.
    let (Ok(Some(told)), Some(_telling)) = (now, Telling::start()) else {
        return;
    };
    if let Some(on_error) = &told.on_error {
        alone(|| on_error(&told.report));
    }
    if told.debug {
        let _ = writeln!(std::io::stderr(), "pandaprobe: {}", told.report);
    }
    if told.log {
        alone(|| tracing::warn!(target: "pandaprobe", "{}", told.report));
    }
}

/// Somebody else's code that panics must not take a thread of ours, or the user's call, with it.
fn alone(f: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(f));
}

thread_local! {
    static TELLING: Cell<bool> = const { Cell::new(false) };
    static WAITING: RefCell<Option<Vec<Told>>> = const { RefCell::new(None) };
}

/// A report is being told on this thread.
struct Telling;

impl Telling {
    /// `None` if one is already.
    fn start() -> Option<Self> {
        let nested = TELLING.try_with(|telling| telling.replace(true)).unwrap_or(true);
        (!nested).then(|| Self)
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        TELLING.set(false);
    }
}

const KINDS: usize = DropReason::ALL.len() + OTHER_KINDS.len();
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Counts, tells `on_error`, and logs each kind at most once a minute.
pub(crate) struct Reporter {
    pub(crate) traces: AtomicU64,
    pub(crate) joined: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) open: AtomicU64,
    counts: [AtomicU64; KINDS],
    logged: Mutex<HashMap<ReportKind, Instant>>,
    on_error: Option<OnError>,
    debug: bool,
}

impl Reporter {
    pub(crate) fn new(on_error: Option<OnError>, debug: bool) -> Self {
        Self {
            traces: AtomicU64::new(0),
            joined: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            open: AtomicU64::new(0),
            counts: [const { AtomicU64::new(0) }; KINDS],
            logged: Mutex::default(),
            on_error,
            debug,
        }
    }

    pub(crate) fn dropped(&self, reason: DropReason, count: u64, message: impl Into<String>) {
        self.tell(Report { kind: ReportKind::Dropped(reason), count, message: message.into() });
    }

    /// Counts what was not sent because the application wants it so.
    pub(crate) fn withheld(&self, reason: DropReason, count: u64) {
        self.counts[index(ReportKind::Dropped(reason))].fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn report(&self, kind: ReportKind, message: impl Into<String>) {
        self.tell(Report { kind, count: 1, message: message.into() });
    }

    fn tell(&self, report: Report) {
        self.counts[index(report.kind)].fetch_add(report.count, Ordering::Relaxed);
        let log = self.log_is_due(report.kind);
        speak(Told { on_error: self.on_error.clone(), debug: self.debug, log, report });
    }

    fn log_is_due(&self, kind: ReportKind) -> bool {
        let now = Instant::now();
        let mut logged = lock(&self.logged);
        let due = logged.get(&kind).is_none_or(|last| now.duration_since(*last) >= LOG_EVERY);
        if due {
            logged.insert(kind, now);
        }
        due
    }

    /// The counters; `queued` and `buffered_bytes` are the pipeline's to fill in.
    pub(crate) fn stats(&self) -> Stats {
        let count = |kind| self.counts[index(kind)].load(Ordering::Relaxed);
        let seen = |kind: &ReportKind| count(*kind) > 0;
        Stats {
            traces: self.traces.load(Ordering::Relaxed),
            joined: self.joined.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
            retried: count(ReportKind::Retrying),
            dropped: DropReason::ALL
                .into_iter()
                .map(|reason| (reason, count(ReportKind::Dropped(reason))))
                .filter(|(_, n)| *n > 0)
                .collect(),
            reports: OTHER_KINDS.into_iter().filter(seen).map(|kind| (kind, count(kind))).collect(),
            ..Stats::default()
        }
    }
}
