//! Frames: the nested layers of what is current.

use std::{
    fmt,
    sync::{Arc, Mutex, Weak},
};

use super::Surroundings;
use crate::{
    client::Client,
    identity::{Ids, Slot},
    model::Object,
    pipeline::{SpanRecord, TraceRecord},
    report::ReportKind,
    sync::lock,
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
    pub(super) parent: Option<Arc<Frame>>,
    pub(super) state: Mutex<State>,
    pub(super) tags: Vec<String>,
    pub(super) metadata: Object,
    pub(super) client: Option<Client>,
    /// Where in which trace this layer is; outer layers' unless it says so itself.
    pub(super) position: Option<Position>,
    /// The layer entered `position`'s trace: what is outside of it surrounds that trace.
    pub(super) enters_trace: bool,
    /// The layer only entered a span, so that `set_*` goes to the one outside of it.
    pub(super) enters_span: bool,
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
    /// A layer that is inside a trace, or a span of it.
    pub(crate) fn at(parent: Option<Arc<Frame>>, position: Position) -> Self {
        let enters_span = position.span.is_some();
        Self { parent, position: Some(position), enters_trace: !enters_span, enters_span, ..Self::default() }
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.layers().find_map(|frame| frame.position.clone())
    }

    pub(crate) fn client(&self) -> Option<Client> {
        self.layers().find_map(|frame| frame.client.clone())
    }

    /// From this layer outwards.
    fn layers(&self) -> impl Iterator<Item = &Frame> {
        std::iter::successors(Some(self), |frame| frame.parent.as_deref())
    }

    /// Whether `outer` is this layer or one outside of it.
    pub(super) fn is_within(&self, outer: &Arc<Frame>) -> bool {
        self.layers().any(|frame| std::ptr::eq(frame, outer.as_ref()))
    }

    pub(super) fn ids(&self) -> Ids {
        lock(&self.state).ids.clone()
    }

    /// What layers inside `trace`, its own included, say of identity.
    pub(super) fn ids_within(&self, trace: &Arc<TraceRecord>) -> Ids {
        let mut ids = Ids::default();
        for frame in self.layers() {
            ids = ids.or(&frame.ids());
            let is_border = frame.enters_trace
                && frame.position.as_ref().is_some_and(|position| Arc::ptr_eq(&position.trace, trace));
            if is_border {
                return ids;
            }
        }
        ids
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
            for (key, value) in &frame.metadata {
                here.metadata.entry(key.clone()).or_insert_with(|| value.clone());
            }
            tags.push(&frame.tags);
            layer = frame.parent.as_ref();
        }
        here.tags.extend(tags.into_iter().rev().flatten().cloned());
    }

    /// The layer that a `set_*` here changes.
    pub(super) fn settable(self: &Arc<Self>) -> &Arc<Self> {
        let mut frame = self;
        while frame.enters_span
            && let Some(parent) = &frame.parent
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

    /// Changes a slot for all that begins here from now on, and says if something open began under another
    /// value.
    pub(super) fn set(&self, pick: fn(&mut Ids) -> &mut Slot, value: Slot) {
        let mut state = lock(&self.state);
        let old = std::mem::replace(pick(&mut state.ids), value.clone());
        if old.is_unset() || old == value {
            return;
        }
        state.begun.retain(is_open);
        let begun_under_old = |trace: Arc<TraceRecord>| trace.with(|trace| *pick(&mut trace.ids) == old);
        let affected =
            state.begun.iter().filter_map(Weak::upgrade).filter(|t| begun_under_old(Arc::clone(t))).count();
        drop(state);
        if affected > 0 {
            let message = format!(
                "set_user or set_session changed a value while {affected} traces begun under the old one were open"
            );
            crate::client::report(ReportKind::IdentityChangedWhileOpen, message);
        }
    }

    /// The same as one layer (and one for the trace it is in), cut off from all others.
    pub(super) fn detached(self: &Arc<Self>) -> Arc<Self> {
        let mut here = Surroundings::default();
        self.surround(&mut here);
        let outer = |ids| Self {
            state: Mutex::new(State::new(ids)),
            tags: here.tags.clone(),
            metadata: here.metadata.clone(),
            client: self.client(),
            ..Self::default()
        };
        let Some(position) = self.position() else {
            return Arc::new(outer(here.ids));
        };
        let border = Self {
            state: Mutex::new(State::new(self.ids_within(&position.trace))),
            parent: Some(Arc::new(outer(here.ids))),
            enters_trace: true,
            position: Some(position),
            ..Self::default()
        };
        Arc::new(border)
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
