//! Whether a store works, told once each time that it changes.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{info, warn};

use crate::error::Failure;

/// The state of one store. A line for each request that it fails would fill the log.
#[derive(Debug)]
pub(crate) struct Health {
    store: String,
    failing: AtomicBool,
}

impl Health {
    /// Of a store that works, by the name that an operator knows, without a password in it.
    pub(crate) fn new(store: String) -> Self {
        Self { store, failing: AtomicBool::new(false) }
    }

    /// Takes note of how an operation went.
    pub(crate) fn saw<T>(&self, result: &Result<T, Failure>) {
        let store = &*self.store;
        if let Err(Failure::Unavailable(why)) = result {
            if !self.failing.swap(true, Ordering::Relaxed) {
                warn!(store, why, "key-value store fails");
            }
        } else if self.failing.load(Ordering::Relaxed)
            && self.failing.swap(false, Ordering::Relaxed)
        {
            info!(store, "key-value store works again");
        }
    }
}
