//! Budgets of guest memory: one for all instances of a component, one for all guests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A shared bound on bytes. Cheap to clone; clones share one budget.
#[derive(Clone)]
pub struct MemoryBudget(Arc<Inner>);

struct Inner {
    limit: u64,
    used: AtomicU64,
    /// The budget that this one is part of: bytes taken here are taken there too.
    parent: Option<MemoryBudget>,
}

impl MemoryBudget {
    /// A budget of `limit` bytes, or without a bound, within `parent`.
    #[must_use]
    pub fn new(limit: Option<u64>, parent: Option<Self>) -> Self {
        let limit = limit.unwrap_or(u64::MAX);
        Self(Arc::new(Inner { limit, used: AtomicU64::new(0), parent }))
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Takes all of these bytes or none. The caller gives them back.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let within = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.0.limit);
        if self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_err() {
            return false;
        }
        if self.0.parent.as_ref().is_some_and(|parent| !parent.take(bytes)) {
            self.0.used.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Gives back bytes that were taken.
    pub(crate) fn give(&self, bytes: u64) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.0.parent {
            parent.give(bytes);
        }
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryBudget({} of {})", self.used(), self.0.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_does_not_get_bytes_that_its_parent_lacks() {
        let all = MemoryBudget::new(Some(100), None);
        let one = MemoryBudget::new(Some(80), Some(all.clone()));
        let other = MemoryBudget::new(None, Some(all.clone()));
        assert!(one.take(60));
        assert!(!one.take(21), "its own bound");
        assert!(!other.take(41), "the bound of all");
        assert!(other.take(40));
        assert_eq!((one.used(), other.used(), all.used()), (60, 40, 100));
        one.give(60);
        assert!(other.take(60));
        assert_eq!((one.used(), other.used(), all.used()), (0, 100, 100));
    }
}
