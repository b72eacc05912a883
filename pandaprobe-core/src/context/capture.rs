//! Collects the traces of a part of the program.

use std::{
    fmt,
    future::IntoFuture,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use serde_json::Value;

use super::{Scope, told};
use crate::{
    identity::Slot,
    model::{Object, TraceData, TraceId},
    pipeline::shallow,
    report::{ReportKind, Reporter},
    sync::{Mutex, lock},
};

/// How many ids of traces are collected unless told otherwise.
pub const DEFAULT_MAX_CAPTURED_TRACES: usize = 1000;

/// Collects the ids of the traces that end inside of it, and adds to what they say: for evaluations that score all traces
/// of a run, for example.
///
/// ```
/// # use pandaprobe_core::{Client, Config, MemoryExporter, Scope, capture_traces, score, trace};
/// # let client = Client::new(Config::new().exporter(MemoryExporter::default()))?;
/// # Scope::new().client(client).run(|| {
/// let captured = capture_traces().metadata("experiment", "b").start();
/// captured.run(|| trace("answer").run(|_| ()));
/// for id in captured.trace_ids() {
///     score(id, "accuracy", 0.9);
/// }
/// # assert_eq!(captured.trace_ids().len(), 1);
/// # });
/// # Ok::<_, pandaprobe_core::ConfigError>(())
/// ```
pub fn capture_traces() -> CaptureTraces {
    let settings = Settings {
        metadata: Object::new(),
        session: Slot::Unset,
        max_traces: DEFAULT_MAX_CAPTURED_TRACES,
        on_submit: None,
    };
    CaptureTraces { settings }
}

/// What [`capture_traces`] is to do.
#[must_use = "nothing is captured before start"]
pub struct CaptureTraces {
    settings: Settings,
}

struct Settings {
    metadata: Object,
    session: Slot,
    max_traces: usize,
    on_submit: Option<OnSubmit>,
}

type OnSubmit = Box<dyn Fn(&TraceData) + Send + Sync>;

impl CaptureTraces {
    /// Adds metadata to each trace. It comes before what the trace itself says of that key.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.settings.metadata.insert(key.into(), shallow(value.into()));
        self
    }

    /// The session of each trace, whatever scopes, handlers or the trace itself say.
    pub fn session_id(mut self, id: impl Into<String>) -> Self {
        self.settings.session = told("session_id of capture_traces", Slot::session(id));
        self
    }

    /// How many ids are kept; [`DEFAULT_MAX_CAPTURED_TRACES`] unless set. Further traces are sent all the same.
    pub fn max_traces(mut self, traces: usize) -> Self {
        self.settings.max_traces = traces;
        self
    }

    /// Calls `callback` with each trace as it is sent, on a thread of the client. A panic in it is caught and reported.
    pub fn on_submit(mut self, callback: impl Fn(&TraceData) + Send + Sync + 'static) -> Self {
        self.settings.on_submit = Some(Box::new(callback));
        self
    }

    /// Ready: what [`scope`](TraceCapture::scope) and [`run`](TraceCapture::run) then surround is captured.
    pub fn start(self) -> TraceCapture {
        TraceCapture { collector: Arc::new(Collector { settings: self.settings, state: Mutex::default() }) }
    }
}

impl fmt::Debug for CaptureTraces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureTraces").field("max_traces", &self.settings.max_traces).finish_non_exhaustive()
    }
}

/// Collects traces; made by [`capture_traces`]. Inside of another one, the inner one alone collects.
///
/// A task that outlives what it captures still adds its metadata and session, and collects nothing any more.
#[derive(Clone)]
pub struct TraceCapture {
    collector: Arc<Collector>,
}

impl TraceCapture {
    /// A future whose traces are captured, on whatever thread, in tasks that it hands its scope to as well.
    pub fn scope<F: IntoFuture>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let collecting = self.collect();
        let inside = self.as_scope().scope(future);
        async move {
            let _collecting = collecting;
            inside.await
        }
    }

    /// [`scope`](Self::scope) for synchronous code.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        let _collecting = self.collect();
        self.as_scope().run(f)
    }

    /// The ids of the traces that ended, each once, in order of their end.
    pub fn trace_ids(&self) -> Vec<TraceId> {
        lock(&self.collector.state).ids.clone()
    }

    /// Whether there were more traces than ids are kept.
    pub fn overflow(&self) -> bool {
        lock(&self.collector.state).overflow
    }

    fn as_scope(&self) -> Scope {
        Scope::capturing(Arc::clone(&self.collector))
    }

    fn collect(&self) -> Collecting {
        lock(&self.collector.state).open += 1;
        Collecting(Arc::clone(&self.collector))
    }
}

impl fmt::Debug for TraceCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceCapture").field("trace_ids", &self.trace_ids()).finish_non_exhaustive()
    }
}

/// While it lives, traces are collected.
struct Collecting(Arc<Collector>);

impl Drop for Collecting {
    fn drop(&mut self) {
        lock(&self.0.state).open -= 1;
    }
}

/// What the traces begun inside of a [`TraceCapture`] share.
pub(crate) struct Collector {
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many futures and closures collect at the moment.
    open: usize,
    ids: Vec<TraceId>,
    overflow: bool,
}

impl Collector {
    pub(crate) fn session(&self) -> &Slot {
        &self.settings.session
    }

    pub(crate) fn metadata(&self) -> Object {
        self.settings.metadata.clone()
    }

    /// A trace has ended. Whether it is one of those that are collected.
    pub(crate) fn ended(&self, id: TraceId) -> bool {
        let mut state = lock(&self.state);
        if state.open == 0 {
            return false;
        }
        match state.ids.len() < self.settings.max_traces {
            true => state.ids.push(id),
            false => state.overflow = true,
        }
        true
    }

    /// A trace that is collected is being sent.
    pub(crate) fn submitted(&self, trace: &TraceData, reporter: &Reporter) {
        if let Some(on_submit) = &self.settings.on_submit
            && catch_unwind(AssertUnwindSafe(|| on_submit(trace))).is_err()
        {
            reporter.report(ReportKind::Panicked, "on_submit panicked");
        }
    }
}
