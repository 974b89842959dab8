//! Whether the files of a process are its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::limits::TURN_DEADLINE;

/// Of all files of one [`Stores`](crate::Stores), those open now and those opened later.
#[derive(Debug)]
pub(crate) struct Sharing {
    now: AtomicBool,
    ever: AtomicBool,
    /// How long a turn is waited for.
    patience: Duration,
}

impl Sharing {
    /// Files that are not shared yet.
    pub(super) fn new(patience: Duration) -> Self {
        Self { now: AtomicBool::new(false), ever: AtomicBool::new(false), patience }
    }

    /// Another process may have the files open too.
    pub(crate) fn begin(&self) {
        self.ever.store(true, Ordering::SeqCst);
        self.now.store(true, Ordering::SeqCst);
    }

    /// No other process has.
    pub(crate) fn end(&self) {
        self.now.store(false, Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> bool {
        self.now.load(Ordering::SeqCst)
    }

    /// Whether another process may use what this one has made.
    pub(super) fn ever(&self) -> bool {
        self.ever.load(Ordering::SeqCst)
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }
}

impl Default for Sharing {
    fn default() -> Self {
        Self::new(TURN_DEADLINE)
    }
}
