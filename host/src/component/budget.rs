//! What a store may take: memory, tables, instances.

use wasmtime::ResourceLimiter;

use super::engine::{CORE_INSTANCES_EACH, TABLE_ELEMENTS};
use super::instance::GuestFailure;
use super::memory::MemoryBudget;

/// Core instances, memories and tables of one component: what the pool has for one.
const MAX_PARTS: usize = CORE_INSTANCES_EACH as usize;

/// Linear memory of one instance, all its memories together. Dropping it gives all of it back.
pub(super) struct Budget {
    left: usize,
    taken: u64,
    shared: MemoryBudget,
}

impl Budget {
    /// At most `own` bytes, taken from `shared` as they are used.
    pub(super) fn new(own: usize, shared: &MemoryBudget) -> Self {
        Self { left: own, taken: 0, shared: shared.clone() }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.shared.give(self.taken);
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if more > self.left {
            return Ok(false);
        }
        if !self.shared.take(more as u64) {
            // A new instance that finds no memory is one too many; another makes do with what it has.
            return if current == 0 { Err(GuestFailure::NoMemory.into()) } else { Ok(false) };
        }
        self.left -= more;
        self.taken += more as u64;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
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
