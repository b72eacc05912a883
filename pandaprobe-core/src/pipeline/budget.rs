//! How many bytes are held between recording and delivery.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{is_own_thread, queue::Queue};
use crate::{
    config::Overflow,
    sync::{Condvar, Mutex, atomic::AtomicUsize, later, lock},
};

/// The bound on everything held: intake, open traces and queue together.
pub(crate) struct Budget {
    most: usize,
    held: AtomicUsize,
    queue: Arc<Queue>,
    waiting: Mutex<()>,
    /// Some of it was given back.
    freed: Condvar,
}

impl Budget {
    pub(super) fn new(most: usize, queue: Arc<Queue>) -> Self {
        Self { most, held: AtomicUsize::new(0), queue, waiting: Mutex::new(()), freed: Condvar::new() }
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether what need not be held had better go.
    pub(super) fn is_half_full(&self) -> bool {
        self.held() > self.most / 2
    }

    /// Takes `bytes`, in the way that the configuration has for when there is no room.
    fn take(&self, bytes: usize) -> bool {
        match self.queue.overflow() {
            Overflow::DropOldest => self.take_at_the_cost_of_the_oldest(bytes),
            Overflow::DropNewest => self.take_if_there_is_room(bytes),
            // What our own threads hold was taken before, in another form.
            Overflow::Block(_) if is_own_thread() => {
                self.held.fetch_add(bytes, Ordering::Relaxed);
                true
            }
            Overflow::Block(timeout) => self.wait_for_room(bytes, timeout),
        }
    }

    fn take_if_there_is_room(&self, bytes: usize) -> bool {
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.most);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn take_at_the_cost_of_the_oldest(&self, bytes: usize) -> bool {
        if bytes > self.most {
            return false;
        }
        let large = self.most / 8;
        let at_least = if bytes > large { large } else { 0 };
        loop {
            if self.take_if_there_is_room(bytes) {
                return true;
            }
            let stays = self.held().saturating_sub(self.queue.waiting_bytes());
            if stays + bytes > self.most || !self.queue.drop_oldest(at_least) {
                return false;
            }
        }
    }

    fn wait_for_room(&self, bytes: usize, timeout: Duration) -> bool {
        if bytes > self.most || self.take_if_there_is_room(bytes) {
            return bytes <= self.most;
        }
        let deadline = later(timeout);
        let mut waiting = lock(&self.waiting);
        loop {
            if self.take_if_there_is_room(bytes) {
                break true;
            }
            let patience = deadline.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                break false;
            }
            waiting = self.freed.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        if matches!(self.queue.overflow(), Overflow::Block(_)) {
            // Whoever waits holds this but while it sleeps, so it sees the room or hears of it.
            drop(lock(&self.waiting));
            self.freed.notify_all();
        }
    }
}

/// A share of the budget, given back when dropped.
#[derive(Default)]
pub(crate) struct Charge(Option<Share>);

struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// Nothing, of `budget`.
    pub(crate) fn empty(budget: &Arc<Budget>) -> Self {
        Self(Some(Share { budget: Arc::clone(budget), bytes: 0 }))
    }

    /// Takes `bytes` more; `false` and no change if they cannot be had.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let Some(share) = &mut self.0 else {
            return true;
        };
        let had = share.budget.take(bytes);
        if had {
            share.bytes += bytes;
        }
        had
    }

    /// Holds exactly `bytes` from now on, whatever the bound says: they are held already.
    pub(crate) fn set(&mut self, bytes: usize) {
        if let Some(share) = &mut self.0 {
            if bytes > share.bytes {
                share.budget.held.fetch_add(bytes - share.bytes, Ordering::Relaxed);
            } else {
                share.budget.give_back(share.bytes - bytes);
            }
            share.bytes = bytes;
        }
    }

    /// Takes over what `other` holds.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        match (&mut self.0, &mut other.0) {
            (Some(mine), Some(theirs)) => mine.bytes += std::mem::take(&mut theirs.bytes),
            (none, theirs) => *none = theirs.take(),
        }
    }

    /// Gives back `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let left = self.0.as_ref().map_or(0, |share| share.bytes.saturating_sub(bytes));
        self.set(left);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}
