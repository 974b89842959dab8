//! Entries of the code cache that this process may read again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often each is in use, by its name. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntriesInUse(Arc<Mutex<HashMap<String, usize>>>);

/// An entry that is in use: a sweep of this process leaves it. Dropping it is the end of that.
#[derive(Debug)]
pub struct EntryInUse {
    name: String,
    all: EntriesInUse,
}

impl EntriesInUse {
    /// Uses the entry of this name.
    pub(crate) fn add(&self, name: String) -> EntryInUse {
        *self.lock().entry(name.clone()).or_default() += 1;
        EntryInUse { name, all: self.clone() }
    }

    /// Whether somebody uses it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EntryInUse {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(times) = all.get_mut(&self.name) {
            *times = times.saturating_sub(1);
            if *times == 0 {
                all.remove(&self.name);
            }
        }
    }
}
