//! How many bytes are held between recording and delivery.

use std::sync::{Arc, atomic::Ordering};

use super::queue::Queue;
use crate::sync::atomic::AtomicUsize;

/// The bound on everything held: intake, open traces and queue together.
pub(crate) struct Budget {
    most: usize,
    held: AtomicUsize,
    queue: Arc<Queue>,
}

impl Budget {
    pub(super) fn new(most: usize, queue: Arc<Queue>) -> Self {
        Self { most, held: AtomicUsize::new(0), queue }
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether what need not be held had better go.
    pub(super) fn is_half_full(&self) -> bool {
        self.held() > self.most / 2
    }

    /// Takes `bytes`, at the cost of the oldest finished items if that makes room enough.
    fn take(&self, bytes: usize) -> bool {
        if bytes > self.most {
            return false;
        }
        loop {
            let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.most);
            if self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok() {
                return true;
            }
            let stays = self.held().saturating_sub(self.queue.waiting_bytes());
            if stays + bytes > self.most || !self.queue.drop_oldest() {
                return false;
            }
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
                share.budget.held.fetch_sub(share.bytes - bytes, Ordering::Relaxed);
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
