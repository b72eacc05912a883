//! What is current where the program is: scope, trace and span, for futures, streams, closures and threads.
//!
//! A scope belongs to a future, not to a thread: it is current whenever that future is polled or dropped, and
//! nowhere else. See [`Scope`] for all forms.

use std::sync::Arc;

use crate::{
    client::{self, Client},
    identity::{Ids, Refusal, Slot},
    model::Object,
    pipeline::TraceRecord,
    report::ReportKind,
};

mod capture;
mod defaults;
mod frame;
#[cfg(all(test, pandaprobe_shuttle))]
mod interleavings;
mod scope;
mod scoped;
mod stack;
mod stray;

pub(crate) use capture::Collector;
pub use capture::{CaptureTraces, DEFAULT_MAX_CAPTURED_TRACES, TraceCapture, capture_traces};
pub use defaults::{set_session, set_user};
use frame::Frame;
pub(crate) use frame::Position;
pub use scope::{OpenScope, Scope, ScopeGuard, metadata, session, tag, tags, user};
pub(crate) use scoped::{Home, Plan};
pub use scoped::{InCurrentScope, Scoped, spawn, spawn_blocking};
use stack::Active;
pub(crate) use stack::current;
pub use stray::{StrayWork, is_withheld};

/// The client that the current scope names.
pub(crate) fn client() -> Option<Client> {
    current().and_then(|frame| frame.client())
}

/// Identity, tags and metadata for a trace that begins here.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) ids: Ids,
    /// What scopes say of identity, without what is explicit.
    pub(crate) scoped: Ids,
    pub(crate) tags: Vec<String>,
    pub(crate) metadata: Object,
    /// Where the values came from that a later `set_*` could change.
    sources: Vec<Arc<Frame>>,
}

impl Surroundings {
    /// Those of the place where the program is, for something with the `explicit` identity.
    pub(crate) fn here(explicit: &Ids) -> Self {
        let mut here = Self { ids: explicit.clone(), ..Self::default() };
        let frame = current();
        if let Some(frame) = &frame {
            frame.surround(&mut here);
        }
        let copied = frame.as_ref().and_then(|frame| frame.copied());
        let defaults = copied.map_or_else(defaults::usable, |copied| copied.defaults.clone());
        let filled = here.ids.or(&defaults);
        if filled != here.ids && copied.is_none_or(|copied| copied.for_caller) {
            here.sources.push(defaults::frame());
        }
        here.ids = filled;
        here
    }

    /// Tells whoever supplied the identity that a trace was begun under it.
    pub(crate) fn begun(&self, trace: &Arc<TraceRecord>) {
        for frame in &self.sources {
            frame.trace_begun(trace);
        }
    }
}

/// What scopes say of identity here.
pub(crate) fn scoped_ids() -> Ids {
    let mut here = Surroundings::default();
    if let Some(frame) = current() {
        frame.surround(&mut here);
    }
    here.scoped
}

/// The identity that something recorded here has in the trace at `position`: what is explicit, else what
/// scopes inside that trace say, else what scopes around it say that were not there when it was begun.
pub(crate) fn ids_within(explicit: &Ids, position: &Position) -> Ids {
    let Some(frame) = current() else {
        return explicit.clone();
    };
    let (inside, outside) = frame.ids_around(&position.trace);
    explicit.or(&inside).or(&outside.changed_since(&position.trace.begun_under))
}

/// An id that somebody says once and for long; tells `on_error` of one that is none.
pub(crate) fn told(what: &str, slot: Slot) -> Slot {
    if let Slot::Blocked(why) = &slot {
        client::report(ReportKind::InvalidId, format!("{what}: {why}"));
    }
    slot
}

/// [`told`] of an id for what is done now. Where nothing is recorded nothing is copied, and the slot is blocked, not unset:
/// were a client made meanwhile, whomever something further out names would fill it.
pub(crate) fn said(what: &str, slot: impl FnOnce() -> Slot) -> Slot {
    if client::anything_enabled() { told(what, slot()) } else { Slot::Blocked(Refusal::SwitchedOff) }
}
