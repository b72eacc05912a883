//! `set_user` and `set_session`: in a scope they change that scope, outside of all the process default.

use std::{
    cell::RefCell,
    sync::{Arc, LazyLock, Mutex},
    thread::{self, ThreadId},
};

use tokio::task;

use super::{Frame, Surroundings, current};
use crate::{
    identity::{Ids, Slot},
    report::ReportKind,
    sync::lock,
};

/// Says whose activity everything is that begins here from now on.
///
/// Inside a scope it changes that scope until it ends, across awaits. Outside of any scope it sets the
/// process default, but only on the one thread, outside of any spawned task, that set it first: worker set-up
/// in `main`. Anywhere else (a request in a spawned task, without a scope) it changes nothing, and `on_error`
/// hears of it: a default set there would land on other users. Open a scope instead:
///
/// ```
/// # async fn handle() {}
/// # async fn request(user_id: &str) {
/// pandaprobe_core::user(user_id).scope(handle()).await;
/// # }
/// ```
///
/// An id that is empty, longer than 255 characters or holds a NUL blocks the slot: what begins here then has
/// no user, rather than the wrong one.
pub fn set_user(id: impl Into<String>) {
    set("user", |ids| &mut ids.user, Slot::user(id));
}

/// Says to which agent lifecycle everything belongs that begins here from now on. The rules are those of
/// [`set_user`].
pub fn set_session(id: impl Into<String>) {
    set("session", |ids| &mut ids.session, Slot::session(id));
}

fn set(what: &str, pick: fn(&mut Ids) -> &mut Slot, value: Slot) {
    if let Slot::Blocked(why) = &value {
        crate::client::report(ReportKind::InvalidId, format!("set_{what}: {why}"));
    }
    match current() {
        Some(frame) => set_in_scope(&frame, pick, value),
        None => set_default(what, pick, value),
    }
}

fn set_in_scope(frame: &Arc<Frame>, pick: fn(&mut Ids) -> &mut Slot, value: Slot) {
    frame.settable().set(pick, value);
    // Middleware may learn the user after the trace of its request began.
    if let Some(position) = frame.position() {
        let mut ids = Ids::default();
        *pick(&mut ids) = pick(&mut frame.ids_within(&position.trace)).clone();
        position.trace.admit(&ids);
    }
}

/// The process default: a layer outside of all others, with the thread that may set it.
static DEFAULT: LazyLock<(Mutex<Option<ThreadId>>, Arc<Frame>)> = LazyLock::new(Default::default);

thread_local! {
    /// Slots whose value on this thread was refused: it wanted to be somebody else than the default.
    static REFUSED: RefCell<Ids> = RefCell::default();
}

fn set_default(what: &str, pick: fn(&mut Ids) -> &mut Slot, value: Slot) {
    let in_task = task::try_id().is_some();
    let here = thread::current().id();
    let may = !in_task && *lock(&DEFAULT.0).get_or_insert(here) == here;
    if may {
        return DEFAULT.1.set(pick, value);
    }
    if !in_task {
        // A thread that serves one user after another must not fall back to the first thread's user.
        let _ = REFUSED.try_with(|refused| *pick(&mut refused.borrow_mut()) = value);
    }
    let message =
        format!("set_{what} was called outside of any scope where it could land on others: open a scope");
    crate::client::report(ReportKind::IdentityRefused, message);
}

/// Adds the process default to `here`.
pub(super) fn surround(here: &mut Surroundings) {
    if here.ids.is_complete() {
        return;
    }
    let ids = DEFAULT.1.ids();
    if ids == Ids::default() {
        return;
    }
    let refused = if task::try_id().is_some() {
        Ids::default()
    } else {
        REFUSED.try_with(|refused| refused.borrow().clone()).unwrap_or_default()
    };
    let usable = Ids {
        session: if refused.session.is_unset() { ids.session } else { Slot::Unset },
        user: if refused.user.is_unset() { ids.user } else { Slot::Unset },
    };
    let before = here.ids.clone();
    here.ids = here.ids.or(&usable);
    if here.ids != before {
        here.sources.push(Arc::clone(&DEFAULT.1));
    }
}
