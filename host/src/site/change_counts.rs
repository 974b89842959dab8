//! How changes came out, counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::outcome::SwapOutcome;
use crate::component::{Rejected, Step};

/// Outcome, and step if it was rejected.
type Way = (&'static str, &'static str);

/// The ways of which it is told that there were none: Prometheus sees no change where a counter begins with 1, and
/// mostly the first swap of a process is its only one.
const WAYS: [Way; 6] = [
    ("swapped", ""),
    ("canary", ""),
    ("promoted", ""),
    ("aborted", ""),
    ("unchanged", ""),
    ("reloaded", ""),
];

/// How many changes came out in which way.
#[derive(Debug)]
pub(super) struct ChangeCounts(Mutex<BTreeMap<Way, u64>>);

impl Default for ChangeCounts {
    fn default() -> Self {
        let rejected = Step::ALL.map(|step| ("rejected", step.name()));
        let ways = WAYS.into_iter().chain(rejected).map(|way| (way, 0));
        Self(Mutex::new(ways.collect()))
    }
}

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

    /// All of them, with the ways in which none came out.
    pub(super) fn all(&self) -> BTreeMap<Way, u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Way, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
