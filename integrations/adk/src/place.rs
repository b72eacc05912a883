//! Which step of a run is current here, so that what happens inside knows that it is a part of that run.
//!
//! The span that is current says where something belongs, but not whether that is a run of adk: inside of one, whatever
//! handler an agent, a model or a tool was wrapped with, it is a part of the run and of its user's.

use std::{
    cell::Cell,
    collections::HashSet,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use pandaprobe_core::{SpanId, SpanKind, TraceId, current_span};

thread_local! {
    /// Set while a step is polled or dropped, on whatever thread.
    static HERE: Cell<Option<Arc<Place>>> = const { Cell::new(None) };
}

/// A step of a run, as what happens inside of it sees it.
#[derive(Debug)]
pub(crate) struct Place {
    /// `None`: the run is not recorded, and nothing in it.
    at: Option<(TraceId, SpanId)>,
    what: What,
    run: Arc<Run>,
}

/// What all steps of a run share.
#[derive(Debug, Default)]
struct Run {
    interrupted: AtomicBool,
}

/// What is wrapped. A wrapper around a wrapper forwards the very name that the inner one has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct What {
    kind: SpanKind,
    name: (usize, usize),
}

impl What {
    pub(crate) fn new(kind: SpanKind, name: &str) -> Self {
        Self { kind, name: (name.as_ptr().addr(), name.len()) }
    }

    /// Whether `self`, asked by nobody but `outer`, is the same call once more. Of models that ask models each token is
    /// paid once, so it is counted once.
    fn repeats(&self, outer: &Self) -> bool {
        self.kind == outer.kind && (self.kind == SpanKind::Llm || self.name == outer.name)
    }
}

impl Place {
    /// That of a step inside of `outer`, or of a run that begins.
    pub(crate) fn new(at: Option<(TraceId, SpanId)>, what: What, outer: Option<&Self>) -> Arc<Self> {
        let run = outer.map(|outer| Arc::clone(&outer.run)).unwrap_or_default();
        Arc::new(Self { at, what, run })
    }

    pub(crate) fn here() -> Option<Arc<Self>> {
        HERE.try_with(|here| {
            let place = here.take();
            here.set(place.clone());
            place
        })
        .ok()
        .flatten()
    }

    /// Runs `f` with this place current.
    pub(crate) fn enter<T>(self: &Arc<Self>, f: impl FnOnce() -> T) -> T {
        let outer = HERE.try_with(|here| here.replace(Some(Arc::clone(self)))).ok().flatten();
        let _back = Back(outer);
        f()
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.at.is_some()
    }

    /// Whether `trace` is that of the run.
    pub(crate) fn is_in(&self, trace: Option<TraceId>) -> bool {
        self.at.is_some_and(|(own, _)| Some(own) == trace)
    }

    /// Whether a call of `what` here is what this step already records.
    pub(crate) fn already_records(&self, what: &What) -> bool {
        let (Some((_, own)), true) = (self.at, what.repeats(&self.what)) else {
            return false;
        };
        current_span().and_then(|span| span.id()) == Some(own)
    }

    /// Somebody stopped the run from outside.
    pub(crate) fn interrupt(&self) {
        self.run.interrupted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.run.interrupted.load(Ordering::Relaxed)
    }
}

/// Traces that runs have begun, so that whoever is in one of them is in a run, also in a task that the application spawned
/// and handed its scope to.
static TRACES: LazyLock<Mutex<HashSet<TraceId>>> = LazyLock::new(Mutex::default);

/// A trace that a run has begun, as long as the run goes on.
#[derive(Debug)]
pub(crate) struct OwnTrace(TraceId);

impl OwnTrace {
    pub(crate) fn begun(trace: TraceId) -> Self {
        traces().insert(trace);
        Self(trace)
    }

    pub(crate) fn is(trace: Option<TraceId>) -> bool {
        trace.is_some_and(|trace| traces().contains(&trace))
    }
}

impl Drop for OwnTrace {
    fn drop(&mut self) {
        traces().remove(&self.0);
    }
}

fn traces() -> MutexGuard<'static, HashSet<TraceId>> {
    TRACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Restores what was current, also when a panic passes by.
struct Back(Option<Arc<Place>>);

impl Drop for Back {
    fn drop(&mut self) {
        let outer = self.0.take();
        let _ = HERE.try_with(|here| here.set(outer));
    }
}
