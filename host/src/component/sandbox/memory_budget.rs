//! Budgets of guest memory: one for all instances of a component, one for all guests.
//!
//! Instances take their memory from a pocket of their generation and worker, and give it back there. So a request
//! finds the bytes of the one before it, and writes nothing that others read. When a budget runs out, all pockets
//! are emptied before anybody is refused.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use host_manifest::{LimitKey, LimitReached};

/// The most bytes in a pocket: several small instances, or one that is large.
const POCKET: u64 = 32 << 20;

/// Those that are gone are looked for from so many pockets on.
const LEAST_POCKETS: usize = 16;

/// A shared bound on bytes. Cheap to clone; clones share one budget.
#[derive(Clone)]
pub struct MemoryBudget(Arc<Inner>);

struct Inner {
    limit: u64,
    /// Bytes in use, and those in pockets.
    taken: AtomicU64,
    /// The most that it was.
    peak: AtomicU64,
    /// The budget that this one is part of: bytes taken here are taken there too.
    parent: Option<MemoryBudget>,
    /// Those of this budget and of its parts. Locked when one is made, and when bytes run out.
    pockets: Mutex<Pockets>,
}

#[derive(Default)]
struct Pockets {
    all: Vec<Weak<Pocket>>,
    /// How many there may be before those are looked for that are gone.
    enough: usize,
}

/// A part of a budget. Cheap to clone; clones are one. The budget gets its bytes back with the last.
#[derive(Clone)]
pub(crate) struct MemoryPocket(Arc<Pocket>);

/// Alone in its cache lines, because requests write it.
#[repr(align(128))]
struct Pocket {
    left: AtomicU64,
    budget: MemoryBudget,
}

impl MemoryBudget {
    /// A budget of `limit` bytes, or without a bound, within `parent`.
    #[must_use]
    pub fn new(limit: Option<u64>, parent: Option<Self>) -> Self {
        let (limit, taken) = (limit.unwrap_or(u64::MAX), AtomicU64::new(0));
        let peak = AtomicU64::new(0);
        Self(Arc::new(Inner { limit, taken, peak, parent, pockets: Mutex::default() }))
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        let left = |pocket: Arc<Pocket>| pocket.left.load(Ordering::Relaxed);
        let unused = self.pockets().all.iter().filter_map(Weak::upgrade).map(left).sum();
        self.0.taken.load(Ordering::Relaxed).saturating_sub(unused)
    }

    /// The most bytes that were in use at once, with those in pockets.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.0.peak.load(Ordering::Relaxed)
    }

    /// An empty pocket.
    pub(crate) fn pocket(&self) -> MemoryPocket {
        let pocket = Arc::new(Pocket { left: AtomicU64::new(0), budget: self.clone() });
        let mut budget = Some(self);
        while let Some(with) = budget {
            let mut pockets = with.pockets();
            pockets.add(&pocket);
            budget = with.0.parent.as_ref();
        }
        MemoryPocket(pocket)
    }

    fn pockets(&self) -> MutexGuard<'_, Pockets> {
        self.0.pockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all of these bytes or none, even if that empties pockets.
    fn take(&self, bytes: u64) -> bool {
        if !self.reserve(bytes) {
            self.empty_pockets();
            if !self.reserve(bytes) {
                return false;
            }
        }
        if self.0.parent.as_ref().is_some_and(|parent| !parent.take(bytes)) {
            self.0.taken.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Takes these bytes from this budget alone.
    fn reserve(&self, bytes: u64) -> bool {
        let within = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= self.0.limit);
        let before = self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within);
        let is_taken = before.is_ok();
        if let Ok(before) = before {
            self.0.peak.fetch_max(before + bytes, Ordering::Relaxed);
        }
        is_taken
    }

    fn empty_pockets(&self) {
        for pocket in self.pockets().all.iter().filter_map(Weak::upgrade) {
            if pocket.left.load(Ordering::Relaxed) > 0 {
                pocket.budget.give(pocket.left.swap(0, Ordering::Relaxed));
            }
        }
    }

    /// The bound in the way of so many bytes, at this moment.
    fn limit_of(&self, bytes: u64) -> LimitReached {
        let Some(parent) = &self.0.parent else {
            return LimitKey::TotalMemory.bytes(self.0.limit);
        };
        if self.used().saturating_add(bytes) > self.0.limit {
            return LimitKey::MemoryTotal.bytes(self.0.limit);
        }
        parent.limit_of(bytes)
    }

    /// Gives back bytes that were taken.
    fn give(&self, bytes: u64) {
        self.0.taken.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.0.parent {
            parent.give(bytes);
        }
    }
}

impl Pockets {
    fn add(&mut self, pocket: &Arc<Pocket>) {
        if self.all.len() >= self.enough {
            self.all.retain(|pocket| pocket.strong_count() > 0);
            self.enough = self.all.len().saturating_mul(2).max(LEAST_POCKETS);
        }
        self.all.push(Arc::downgrade(pocket));
    }
}

impl MemoryPocket {
    /// An empty pocket of the same budget.
    pub(crate) fn another(&self) -> Self {
        self.0.budget.pocket()
    }

    /// The bound that does not let it have so many bytes.
    pub(crate) fn limit_of(&self, bytes: u64) -> LimitReached {
        self.0.budget.limit_of(bytes)
    }

    /// Takes all of these bytes or none. The caller gives them back.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let rest = |left: u64| left.checked_sub(bytes);
        self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).is_ok()
            || self.0.budget.take(bytes)
    }

    /// Gives back bytes that were taken.
    pub(crate) fn give(&self, bytes: u64) {
        if self.0.left.load(Ordering::Relaxed).saturating_add(bytes) <= POCKET {
            self.0.left.fetch_add(bytes, Ordering::Relaxed);
        } else {
            self.0.budget.give(bytes);
        }
    }
}

impl Drop for Pocket {
    fn drop(&mut self) {
        self.budget.give(*self.left.get_mut());
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
        let (of_one, of_other) = (one.pocket(), other.pocket());
        assert!(of_one.take(60));
        assert!(!of_one.take(21), "its own bound");
        assert_eq!(of_one.limit_of(21), LimitKey::MemoryTotal.bytes(80));
        assert!(!of_other.take(41), "the bound of all");
        assert_eq!(of_other.limit_of(41), LimitKey::TotalMemory.bytes(100));
        assert!(of_other.take(40));
        assert_eq!((one.used(), other.used(), all.used()), (60, 40, 100));
        of_one.give(60);
        assert_eq!((one.used(), other.used(), all.used()), (0, 40, 40), "in the pocket");
        assert!(of_other.take(60), "from the pocket of the other");
        assert_eq!((one.used(), other.used(), all.used()), (0, 100, 100));
    }

    #[test]
    fn bytes_in_a_pocket_are_there_for_all_and_not_taken_again() {
        let budget = MemoryBudget::new(Some(100), None);
        let (mine, yours) = (budget.pocket(), budget.pocket());
        assert!(mine.take(70));
        mine.give(70);
        assert!(mine.take(30));
        assert_eq!(budget.0.taken.load(Ordering::Relaxed), 70, "no more than before");
        assert!(yours.take(70), "40 of them from the other pocket");
        assert!(!yours.take(1) && !mine.take(1));
        mine.give(30);
        drop(mine);
        assert_eq!((budget.used(), budget.0.taken.load(Ordering::Relaxed)), (70, 70));
        assert!(yours.take(30));
    }

    #[test]
    fn a_pocket_keeps_only_so_much() {
        let budget = MemoryBudget::new(None, None);
        let pocket = budget.pocket();
        assert!(pocket.take(3 * POCKET));
        pocket.give(2 * POCKET);
        pocket.give(POCKET);
        assert_eq!((budget.used(), budget.0.taken.load(Ordering::Relaxed)), (0, POCKET));
    }

    /// However many take and give at once, the bound holds, and nothing is lost.
    #[test]
    fn many_threads_share_a_budget() {
        let budget = MemoryBudget::new(Some(50), None);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let pocket = budget.pocket();
                scope.spawn(move || {
                    for bytes in (1..=20).cycle().take(20_000) {
                        if pocket.take(bytes) {
                            pocket.give(bytes);
                        }
                        assert!(pocket.0.budget.0.taken.load(Ordering::Relaxed) <= 50);
                    }
                });
            }
        });
        assert_eq!((budget.used(), budget.0.taken.load(Ordering::Relaxed)), (0, 0));
        assert!(budget.pocket().take(50));
    }
}
