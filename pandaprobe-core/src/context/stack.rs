//! Which frame is current on this thread.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::task;

use super::{Frame, stray::unless_strange};
use crate::{report::ReportKind, sync::thread_local};

thread_local! {
    static STACK: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

struct Entry {
    id: u64,
    frame: Arc<Frame>,
    how: How,
}

enum How {
    /// A future that is being polled or dropped, or a closure that runs. The owner is the same in each poll.
    Active { owner: u64 },
    /// A guard, entered inside the active owner `inside` (none: outside all) by the task `stamp`.
    Guard { inside: Option<u64>, stamp: Option<task::Id> },
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number that nothing else in this process has.
pub(crate) fn unique() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The innermost frame that is current here. Where that could be another's, one that says nothing.
pub(crate) fn current() -> Option<Arc<Frame>> {
    unless_strange(innermost())
}

/// The innermost frame here, whosever it is what is done here.
pub(super) fn innermost() -> Option<Arc<Frame>> {
    let mut foreign = false;
    let frame = STACK.try_with(|stack| find(&stack.borrow(), &mut foreign)).ok().flatten();
    if foreign {
        let message =
            "a scope guard was held across an await and seen from another task; use scope(future) there";
        crate::client::report_to_global(ReportKind::ForeignGuard, message);
    }
    frame
}

/// A guard belongs to the future in which it was entered: it is current while that future is, on top of it.
fn find(stack: &[Entry], foreign: &mut bool) -> Option<Arc<Frame>> {
    let active = stack.iter().rev().find_map(|entry| match entry.how {
        How::Active { owner } => Some((owner, &entry.frame)),
        How::Guard { .. } => None,
    });
    let owner = active.map(|(owner, _)| owner);
    for entry in stack.iter().rev() {
        if let How::Guard { inside, stamp } = &entry.how
            && *inside == owner
        {
            if *stamp == task::try_id() {
                return Some(Arc::clone(&entry.frame));
            }
            *foreign = true;
        }
    }
    active.map(|(_, frame)| Arc::clone(frame))
}

/// Makes a frame current until it is dropped, on this thread.
#[derive(Debug)]
pub(crate) struct Active {
    id: u64,
    // A raw pointer makes this `!Send`: it must be dropped on the thread that made it.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Active {
    /// For a future or closure, known by `owner` each time it is entered.
    pub(crate) fn enter(frame: Arc<Frame>, owner: u64) -> Self {
        Self::push(frame, How::Active { owner })
    }

    /// For a guard that the application holds.
    pub(super) fn guard(frame: Arc<Frame>) -> Self {
        let inside = STACK.try_with(|stack| {
            stack.borrow().iter().rev().find_map(|entry| match entry.how {
                How::Active { owner } => Some(owner),
                How::Guard { .. } => None,
            })
        });
        Self::push(frame, How::Guard { inside: inside.ok().flatten(), stamp: task::try_id() })
    }

    fn push(frame: Arc<Frame>, how: How) -> Self {
        let id = unique();
        // While a thread ends its stack is gone; then nothing is current.
        let _ = STACK.try_with(|stack| stack.borrow_mut().push(Entry { id, frame, how }));
        Self { id, _not_send: std::marker::PhantomData }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let removed = STACK.try_with(|stack| {
            let mut stack = stack.borrow_mut();
            let at = stack.iter().rposition(|entry| entry.id == self.id)?;
            Some(stack.remove(at))
        });
        // What the entry held may run code of the application when dropped, so not under the borrow.
        drop(removed);
    }
}
