//! Frames: the nested layers of what is current.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::{Collector, Surroundings};
use crate::{
    client::Client,
    identity::{Ids, Slot},
    model::Object,
    pipeline::{SpanRecord, TraceRecord},
    sync::{Mutex, lock},
};

/// Where in a trace something is.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) trace: Arc<TraceRecord>,
    pub(crate) span: Option<Arc<SpanRecord>>,
}

/// One layer. Inner layers see what outer ones say where they say nothing themselves.
#[derive(Default)]
pub(crate) struct Frame {
    pub(super) outer: Outer,
    pub(super) state: Mutex<State>,
    pub(super) tags: Vec<String>,
    pub(super) metadata: Object,
    pub(super) client: Option<Client>,
    /// What collects the traces that begin here.
    pub(super) capture: Option<Arc<Collector>>,
    /// Where in which trace this layer is; outer layers' unless it says so itself.
    pub(super) position: Option<Position>,
    /// The layer entered `position`'s trace: what is outside of it surrounds that trace.
    pub(super) enters_trace: bool,
    /// The layer only entered a span, so that `set_*` goes to the one outside of it.
    pub(super) enters_span: bool,
    /// The layer is a copy, and all there is.
    pub(super) copied: Option<Copied>,
    /// Nobody knows whose it is what is done here, and nothing is outside.
    pub(super) nowhere: bool,
    /// Nothing of anybody else runs in it.
    pub(super) for_callbacks: bool,
}

/// What a copy keeps of what it was made of, beside what that says.
#[derive(Clone, Default)]
pub(super) struct Copied {
    /// The process default where it was made. It is no scope: it says whose a trace is that begins here, and
    /// nothing of what is recorded in one.
    pub(super) defaults: Ids,
    /// The layers it was made of: what was made inside of one of them is at home here too.
    origins: Vec<Weak<Frame>>,
    /// It stands for the caller within one call, so a later change of the default is a change here.
    pub(super) for_caller: bool,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) ids: Ids,
    /// Traces begun under an identity that this layer supplied.
    begun: Vec<Weak<TraceRecord>>,
}

impl State {
    pub(super) fn new(ids: Ids) -> Self {
        Self { ids, begun: Vec::new() }
    }
}

impl Frame {
    /// A layer for what could be anybody's. Made anew each time, so that nothing that is said there stays.
    pub(super) fn nowhere() -> Arc<Self> {
        Arc::new(Self { nowhere: true, copied: Some(Copied::default()), ..Self::default() })
    }

    /// Whether nobody knows whose it is what is done here.
    pub(crate) fn is_nowhere(&self) -> bool {
        self.layers().any(|frame| frame.nowhere)
    }

    /// Whether nothing of anybody else runs here.
    pub(super) fn is_for_callbacks(&self) -> bool {
        self.layers().any(|frame| frame.for_callbacks)
    }

    /// A layer that is at `position`. If `outer` is not in that trace, what it says surrounds the trace.
    pub(super) fn at(outer: Option<Arc<Frame>>, position: Position) -> Self {
        let around = outer.as_ref().and_then(|frame| frame.position());
        let enters_trace = around.is_none_or(|around| !Arc::ptr_eq(&around.trace, &position.trace));
        let enters_span = position.span.is_some() && !enters_trace;
        Self {
            outer: Outer::new(outer),
            position: Some(position),
            enters_trace,
            enters_span,
            ..Self::default()
        }
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.layers().find_map(|frame| frame.position.clone())
    }

    pub(crate) fn client(&self) -> Option<Client> {
        self.layers().find_map(|frame| frame.client.clone())
    }

    pub(crate) fn capture(&self) -> Option<Arc<Collector>> {
        self.layers().find_map(|frame| frame.capture.clone())
    }

    /// From this layer outwards.
    fn layers(&self) -> impl Iterator<Item = &Frame> {
        std::iter::successors(Some(self), |frame| frame.outer.get().map(Arc::as_ref))
    }

    /// Whether `outer` is this layer or one outside of it, or one of them is a copy of it.
    pub(super) fn is_within(&self, outer: &Arc<Frame>) -> bool {
        let is_outer = |frame: *const Frame| std::ptr::eq(frame, Arc::as_ptr(outer));
        self.layers().any(|frame| {
            let origins = frame.copied.iter().flat_map(|copied| &copied.origins);
            is_outer(frame) || origins.into_iter().any(|origin| is_outer(origin.as_ptr()))
        })
    }

    pub(super) fn ids(&self) -> Ids {
        lock(&self.state).ids.clone()
    }

    /// What layers inside `trace`, its own included, say of identity, and what those outside of it say. Nothing
    /// is inside of a trace that was not entered here.
    pub(super) fn ids_around(&self, trace: &Arc<TraceRecord>) -> (Ids, Ids) {
        let is_border = |frame: &Frame| {
            let at = frame.position.as_ref();
            frame.enters_trace && at.is_some_and(|at| Arc::ptr_eq(&at.trace, trace))
        };
        let (mut inside, mut outside) = (Ids::default(), Ids::default());
        let mut is_inside = self.layers().any(is_border);
        for frame in self.layers() {
            let ids = if is_inside { &mut inside } else { &mut outside };
            *ids = ids.or(&frame.ids());
            is_inside &= !is_border(frame);
        }
        (inside, outside)
    }

    /// Adds what this layer and those outside of it say to `here`.
    pub(super) fn surround(self: &Arc<Self>, here: &mut Surroundings) {
        let mut layer = Some(self);
        let mut tags: Vec<&[String]> = Vec::new();
        while let Some(frame) = layer {
            let ids = frame.ids();
            let supplies = |slot: &Slot, own: &Slot| slot.is_unset() && !own.is_unset();
            if supplies(&here.ids.session, &ids.session) || supplies(&here.ids.user, &ids.user) {
                here.sources.push(Arc::clone(frame));
            }
            here.ids = here.ids.or(&ids);
            here.scoped = here.scoped.or(&ids);
            for (key, value) in &frame.metadata {
                here.metadata.entry(key.clone()).or_insert_with(|| value.clone());
            }
            tags.push(&frame.tags);
            layer = frame.outer.get();
        }
        here.tags.extend(tags.into_iter().rev().flatten().cloned());
    }

    /// The layer that a `set_*` here changes.
    pub(super) fn settable(self: &Arc<Self>) -> &Arc<Self> {
        let mut frame = self;
        while frame.enters_span
            && let Some(parent) = frame.outer.get()
        {
            frame = parent;
        }
        frame
    }

    pub(super) fn trace_begun(&self, trace: &Arc<TraceRecord>) {
        let mut state = lock(&self.state);
        // A scope around a worker's loop sees many traces come and go.
        if state.begun.len() == state.begun.capacity() {
            state.begun.retain(is_open);
        }
        state.begun.push(Arc::downgrade(trace));
    }

    /// Changes a slot for all that begins here from now on. How many open traces began under another value.
    pub(super) fn set(&self, pick: fn(&mut Ids) -> &mut Slot, value: Slot) -> usize {
        let mut state = lock(&self.state);
        let old = std::mem::replace(pick(&mut state.ids), value.clone());
        if old.is_unset() || old == value {
            return 0;
        }
        state.begun.retain(is_open);
        let begun: Vec<Arc<TraceRecord>> = state.begun.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        let under_old = |trace: &&Arc<TraceRecord>| trace.with(|trace| *pick(&mut trace.ids) == old);
        begun.iter().filter(under_old).count()
    }

    /// The copy that this is, or is inside of.
    pub(super) fn copied(&self) -> Option<&Copied> {
        self.layers().find_map(|frame| frame.copied.as_ref())
    }

    /// The same as one layer (and one for the trace it is in), cut off from all others, with the process
    /// default as it is here.
    pub(super) fn detached(self: &Arc<Self>) -> Arc<Self> {
        self.copy(false)
    }

    /// [`detached`](Self::detached), for what is done on behalf of the caller within one call.
    pub(super) fn detached_for_caller(self: &Arc<Self>) -> Arc<Self> {
        self.copy(true)
    }

    fn copy(self: &Arc<Self>, for_caller: bool) -> Arc<Self> {
        let mut here = Surroundings::default();
        self.surround(&mut here);
        let defaults = self.copied().map_or_else(super::defaults::usable, |copied| copied.defaults.clone());
        let outer = Self {
            state: Mutex::new(State::new(here.ids)),
            tags: here.tags,
            metadata: here.metadata,
            client: self.client(),
            capture: self.capture(),
            copied: Some(Copied { defaults, origins: self.origins(), for_caller }),
            nowhere: self.is_nowhere(),
            ..Self::default()
        };
        let Some(position) = self.position() else {
            return Arc::new(outer);
        };
        let (inside, _) = self.ids_around(&position.trace);
        let inner = Self::at(Some(Arc::new(outer)), position);
        lock(&inner.state).ids = inside;
        Arc::new(inner)
    }

    /// This layer and those outside of it, with what those were copied from as long as that lives: tasks that
    /// spawn their successors would otherwise remember all of their ancestors.
    fn origins(self: &Arc<Self>) -> Vec<Weak<Frame>> {
        let mut origins = Vec::new();
        let mut layer = Some(self);
        while let Some(frame) = layer {
            let earlier = frame.copied.iter().flat_map(|copied| &copied.origins);
            origins.extend(earlier.filter(|origin| origin.strong_count() > 0).cloned());
            origins.push(Arc::downgrade(frame));
            layer = frame.outer.get();
        }
        origins
    }
}

/// The layer outside of one. Dropped without recursion: a chain of layers can be longer than a stack is high.
#[derive(Default)]
pub(super) struct Outer(Option<Arc<Frame>>);

impl Outer {
    pub(super) fn new(frame: Option<Arc<Frame>>) -> Self {
        Self(frame)
    }

    fn get(&self) -> Option<&Arc<Frame>> {
        self.0.as_ref()
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(frame) = next {
            next = Arc::into_inner(frame).and_then(|mut frame| frame.outer.0.take());
        }
    }
}

fn is_open(trace: &Weak<TraceRecord>) -> bool {
    trace.upgrade().is_some_and(|trace| !trace.has_ended())
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("position", &self.position).finish_non_exhaustive()
    }
}
