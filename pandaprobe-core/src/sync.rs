//! A lock that does not care about panics elsewhere.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`. What it guards here is never left half-changed by a panic, so poison is ignored.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
