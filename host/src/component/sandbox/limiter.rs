//! The limits of a store: memory, tables, instances.

use host_manifest::{LimitKey, LimitReached};
use wasmtime::ResourceLimiter;

use super::guest_failure::GuestFailure;
use super::memory_budget::MemoryPocket;
use crate::component::slot_size::{CORE_INSTANCES_EACH, TABLE_ELEMENTS};

/// Core instances, memories and tables of one component: as many as the pool has for one.
const MAX_PARTS: usize = CORE_INSTANCES_EACH as usize;

/// Bytes of a function pointer.
const TABLE_ELEMENT: usize = 8;

/// The memory of one instance: all its memories and tables together. Dropping it gives all of it back.
pub(crate) struct StoreLimiter {
    own: usize,
    left: usize,
    taken: u64,
    shared: MemoryPocket,
    refused: Option<LimitReached>,
}

impl StoreLimiter {
    /// At most `own` bytes, taken from `shared` as they are used.
    pub(crate) fn new(own: usize, shared: &MemoryPocket) -> Self {
        Self { own, left: own, taken: 0, shared: shared.clone(), refused: None }
    }

    /// The limit at which its memory could not grow the last time, if that was refused.
    pub(crate) fn refused(&self) -> Option<LimitReached> {
        self.refused
    }

    fn grow(&mut self, current: usize, desired: usize) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if more > self.left {
            self.refused = Some(LimitKey::Memory.bytes(self.own as u64));
            return Ok(false);
        }
        if !self.shared.take(more as u64) {
            let limit = self.shared.limit_of(more as u64);
            self.refused = Some(limit);
            // Without memory a new instance fails; an existing one continues with the memory that it has.
            return if current == 0 {
                Err(GuestFailure::NoMemory(limit).into())
            } else {
                Ok(false)
            };
        }
        self.left -= more;
        self.taken += more as u64;
        Ok(true)
    }
}

impl Drop for StoreLimiter {
    fn drop(&mut self) {
        self.shared.give(self.taken);
    }
}

impl ResourceLimiter for StoreLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(current, desired)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            self.refused = Some(LimitKey::TableElements.count(TABLE_ELEMENTS));
            return Ok(false);
        }
        self.grow(current * TABLE_ELEMENT, desired * TABLE_ELEMENT)
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn memories(&self) -> usize {
        MAX_PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::sandbox::memory_budget::MemoryBudget;

    /// Sixty tables of one component once took 46 MiB that no limit counted.
    #[test]
    fn tables_are_memory_too() {
        let all = MemoryBudget::new(Some(1_000), None);
        let mut budget = StoreLimiter::new(500, &all.pocket());
        assert!(budget.memory_growing(0, 300, None).unwrap());
        assert!(budget.table_growing(0, 20, None).unwrap());
        assert_eq!(all.used(), 300 + 20 * TABLE_ELEMENT as u64);
        assert!(budget.refused().is_none());
        assert!(!budget.table_growing(20, 30, None).unwrap(), "40 bytes are left");
        assert_eq!(budget.refused(), Some(LimitKey::Memory.bytes(500)));
        assert!(budget.table_growing(20, 25, None).unwrap());
        drop(budget);
        assert_eq!(all.used(), 0);
    }
}
