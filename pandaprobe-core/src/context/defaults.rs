//! `set_user` and `set_session`: in a scope they change that scope, outside of all the process default.

use std::sync::{Arc, LazyLock};

use tokio::task;

use super::{Frame, Position, current, said};
use crate::{
    client::anything_enabled,
    identity::{Ids, Slot},
    report::ReportKind,
    sync::{
        Mutex, lock,
        thread::{self, ThreadId},
    },
};

/// Says whose activity everything is that begins here from now on.
///
/// Inside a scope it changes that scope until it ends, across awaits. Outside of any scope it sets the
/// process default, but only on the one thread, outside of any spawned task, that set it first: worker set-up
/// in `main`. Anywhere else (a request in a spawned task, without a scope) it changes nothing, and `on_error`
/// hears of it: a default set there would land on other users. From then on only the thread that set the
/// default has one for that slot, since everything else could mean somebody else. Open a scope instead:
///
/// ```
/// # async fn handle() {}
/// # async fn request(user_id: &str) {
/// pandaprobe_core::user(user_id).scope(handle()).await;
/// # }
/// ```
///
/// While [nothing can be recorded](crate::is_enabled) the id is not kept, and the slot is blocked: call it after
/// [`init`](crate::init).
///
/// An id that is empty, longer than 255 characters or holds a NUL blocks the slot: what begins here then has
/// no user, rather than the wrong one.
pub fn set_user(id: impl Into<String>) {
    set("user", |ids| &mut ids.user, said("set_user", || Slot::user(id)));
}

/// Says to which agent lifecycle everything belongs that begins here from now on. The rules are those of
/// [`set_user`].
pub fn set_session(id: impl Into<String>) {
    set("session", |ids| &mut ids.session, said("set_session", || Slot::session(id)));
}

fn set(what: &str, pick: fn(&mut Ids) -> &mut Slot, value: Slot) {
    match current() {
        Some(frame) if frame.settable().nowhere => refused(what, "where it could be anybody's"),
        Some(frame) => set_in_scope(&frame, pick, value),
        None => DEFAULTS.set(what, pick, value),
    }
}

fn set_in_scope(frame: &Arc<Frame>, pick: fn(&mut Ids) -> &mut Slot, value: Slot) {
    let mut affected = frame.settable().set(pick, value.clone());
    // Middleware may learn the user after the trace of its request began.
    if let Some(Position { trace, .. }) = frame.position() {
        let mut ids = Ids::default();
        *pick(&mut ids) = value;
        if trace.admit(&ids, &Ids::default()) {
            frame.settable().trace_begun(&trace);
        } else if affected == 0 && !trace.has_ended() {
            affected = 1;
        }
    }
    told(affected);
}

fn told(affected: usize) {
    if affected > 0 {
        let message = format!(
            "set_user or set_session changed a value while {affected} traces begun under the old one were open"
        );
        crate::client::report(ReportKind::IdentityChangedWhileOpen, message);
    }
}

fn refused(what: &str, place: &str) {
    let message = format!("set_{what} was called {place}: open a scope");
    crate::client::report(ReportKind::IdentityRefused, message);
}

static DEFAULTS: LazyLock<Defaults> = LazyLock::new(Default::default);

/// The process default.
#[derive(Default)]
pub(super) struct Defaults {
    /// The thread that may set it.
    owner: Mutex<Option<ThreadId>>,
    /// A layer outside of all others.
    layer: Arc<Frame>,
    /// Slots that somebody wanted to set who may not. Whoever that was, and whatever else works beside, could
    /// mean somebody else than the default; so from then on only the thread that set the default has it.
    refused: Mutex<Ids>,
}

impl Defaults {
    pub(super) fn set(&self, what: &str, pick: fn(&mut Ids) -> &mut Slot, value: Slot) {
        let here = thread::current().id();
        if task::try_id().is_none() && *lock(&self.owner).get_or_insert(here) == here {
            return told(self.layer.set(pick, value));
        }
        *pick(&mut lock(&self.refused)) = value;
        if !anything_enabled() {
            return;
        }
        refused(what, "outside of any scope where it could land on others");
    }

    /// As far as it is one for where the program is.
    pub(super) fn usable(&self) -> Ids {
        let ids = self.layer.ids();
        if ids.is_unset() {
            return ids;
        }
        let is_owner = task::try_id().is_none() && *lock(&self.owner) == Some(thread::current().id());
        let refused = if is_owner { Ids::default() } else { lock(&self.refused).clone() };
        Ids {
            session: if refused.session.is_unset() { ids.session } else { Slot::Unset },
            user: if refused.user.is_unset() { ids.user } else { Slot::Unset },
        }
    }
}

/// The layer of the process default.
pub(super) fn frame() -> Arc<Frame> {
    Arc::clone(&DEFAULTS.layer)
}

/// The process default, as far as it is one for where the program is.
pub(super) fn usable() -> Ids {
    DEFAULTS.usable()
}
