//! The one way to lock what is counted.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks sums. A panic in their middle leaves sums that are good enough to go on with.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
