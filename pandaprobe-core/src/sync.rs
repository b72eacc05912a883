//! What threads share: locks, atomics and threads as the standard library has them, a lock that does not care about
//! panics elsewhere, and a clock that does not overflow.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

#[cfg(not(all(test, pandaprobe_shuttle)))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic, mpsc},
    thread, thread_local,
};

/// In their place where interleavings are tested: those of a scheduler that chooses who runs next.
#[cfg(all(test, pandaprobe_shuttle))]
pub(crate) mod model;
#[cfg(all(test, pandaprobe_shuttle))]
pub(crate) use model::{Condvar, Mutex, MutexGuard, atomic, mpsc, thread, thread_local};

/// Locks `mutex`. What it guards here is never left half-changed by a panic, so poison is ignored.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time after `wait`, at most a year from now.
pub(crate) fn later(wait: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + wait.min(YEAR)
}
