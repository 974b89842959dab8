//! The ticks of the engines' epoch, counted for those who ask whether one has passed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Guests that compute are interrupted this often.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Counts ticks. Cheap to clone; clones are one count. A process that does not run has no ticks.
#[derive(Clone, Debug, Default)]
pub struct TickCounter(Arc<Count>);

/// Alone in its cache lines: every poll of a guest reads it, and what lies beside it may be written as often.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU64);

impl TickCounter {
    /// A tick has passed.
    pub(crate) fn advance(&self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Ticks so far.
    pub(crate) fn now(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }
}
