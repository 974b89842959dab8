//! How changes came out, counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::outcome::SwapOutcome;
use crate::component::Rejected;

/// How many changes came out in which way.
#[derive(Debug, Default)]
pub(super) struct ChangeCounts(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl ChangeCounts {
    /// A change came out like this.
    pub(super) fn count(&self, outcome: &SwapOutcome) {
        let way = match outcome {
            SwapOutcome::Swapped { .. } => ("swapped", ""),
            SwapOutcome::Canary { .. } => ("canary", ""),
            SwapOutcome::Promoted { .. } => ("promoted", ""),
            SwapOutcome::Aborted { .. } => ("aborted", ""),
            SwapOutcome::Unchanged { .. } => ("unchanged", ""),
            SwapOutcome::Reloaded(_) => ("reloaded", ""),
            SwapOutcome::Rejected(Rejected { step, .. }) => ("rejected", step.name()),
        };
        *self.lock().entry(way).or_default() += 1;
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, &'static str), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
