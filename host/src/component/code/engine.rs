//! The engine: where the memory of guests comes from, and its clock. How they are compiled is said in
//! `host_code::settings`.
//!
//! A fresh instance per request is cheap only if its memory is: slots are made once, and after a
//! request the pages that it wrote are found by a scan and set back in place. The scan of wasmtime
//! 48 overlooks pages that the kernel has swapped out (wasmtime pull request 14357), so it is used
//! only where nothing can be swapped; elsewhere the kernel takes all pages back, which is slower.

use std::fmt;
use std::fs;
use std::sync::{Mutex, PoisonError};

use host_code::settings;
use tracing::info;
use wasmtime::component::Component;
use wasmtime::{Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::epoch::EpochClock;
use crate::component::slot_size::{CORE_INSTANCES_EACH, TABLE_ELEMENTS};

/// Instances beside those that serve: the trial at load.
const SPARE_INSTANCES: usize = 8;

/// Pages of a slot that are set back in place instead of being given to the kernel: at least what
/// a small guest writes, at most what a JavaScript engine does.
const KEEP_RESIDENT: std::ops::RangeInclusive<usize> = 2 << 20..=16 << 20;

/// All slots together keep at most this.
const KEEP_RESIDENT_IN_ALL: usize = 4 << 30;

const TABLE_KEEP_RESIDENT: usize = 64 << 10;

/// What a slot has room for; how much an instance may have of it is up to its store's limiter.
const LARGEST_MEMORY: usize = 4 << 30;

const WASM_PAGE: u64 = 64 << 10;

/// What each pool is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pools {
    /// Instances at once.
    instances: usize,
    /// Bytes that its slots keep together.
    resident: usize,
}

/// What one instance of a component takes from the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) memories: u32,
    pub(crate) tables: u32,
    pub(crate) initial_memory: u64,
}

impl Needs {
    /// What a component built by Rust's toolchain takes; others are measured and get a second try.
    pub(crate) const TYPICAL: Self = Self { memories: 1, tables: 2, initial_memory: 17 << 16 };

    pub(crate) fn required_by(component: &Component) -> Option<Self> {
        let required = component.resources_required()?;
        Some(Self {
            memories: required.num_memories,
            tables: required.num_tables,
            initial_memory: required.max_initial_memory_size.unwrap_or(0) * WASM_PAGE,
        })
    }

    /// Whether a pool made for `self` serves `other` as well as one made for it.
    pub(crate) fn serves(&self, other: &Self, pools: Pools) -> bool {
        self.memories == other.memories
            && self.tables >= other.tables
            && keep_resident(self, pools) == keep_resident(other, pools)
    }
}

/// The engines of the process: one for each kind of pool that is in use. A component has the engine
/// of its kind and needs, so most swaps find theirs there; an engine goes with the last generation
/// that uses it.
pub(crate) struct Engines {
    pools: Pools,
    clock: EpochClock,
    made: Mutex<Vec<Made>>,
    /// Without a pool: one for each kind, never for guests.
    rulers: Mutex<[Option<Engine>; 2]>,
}

struct Made {
    needs: Needs,
    concurrency: bool,
    engine: EngineWeak,
}

impl fmt::Debug for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engines")
    }
}

impl Engines {
    /// For so many instances at once, which may have so many bytes together.
    pub(crate) fn new(instances: usize, memory: Option<u64>, clock: EpochClock) -> Self {
        let pools = Pools { instances, resident: resident_in_all(memory) };
        Self { pools, clock, made: Mutex::default(), rulers: Mutex::default() }
    }

    /// What each is made for.
    pub(crate) fn pools(&self) -> Pools {
        self.pools
    }

    /// The one that was last asked for among those of a kind, and what its pool is made for.
    pub(crate) fn last(&self, concurrency: bool) -> Option<(Needs, Engine)> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter()
            .rev()
            .filter(|made| made.concurrency == concurrency)
            .find_map(|made| Some((made.needs, made.engine.upgrade()?)))
    }

    /// The engine for components with these needs, made if there is none.
    pub(crate) fn get(&self, needs: Needs, concurrency: bool) -> wasmtime::Result<Engine> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|made| made.engine.upgrade().is_some());
        let fitting =
            |made: &Made| made.concurrency == concurrency && made.needs.serves(&needs, self.pools);
        if let Some(position) = made.iter().position(fitting) {
            let last = made.remove(position);
            let engine = last.engine.upgrade();
            made.push(last);
            if let Some(engine) = engine {
                return Ok(engine);
            }
        }
        let engine = engine(&needs, concurrency, self.pools)?;
        self.clock.drive(&engine);
        made.push(Made { needs, concurrency, engine: engine.weak() });
        Ok(engine)
    }

    /// An engine that takes components of any size, to find out theirs, and how code for it is made.
    pub(crate) fn ruler(&self, concurrency: bool) -> wasmtime::Result<Engine> {
        let mut rulers = self.rulers.lock().unwrap_or_else(PoisonError::into_inner);
        let ruler = &mut rulers[usize::from(concurrency)];
        match ruler {
            Some(ruler) => Ok(ruler.clone()),
            None => Ok(ruler.insert(Engine::new(&settings(concurrency))?).clone()),
        }
    }
}

/// Makes an engine with a pool of the right size.
fn engine(needs: &Needs, concurrency: bool, pools: Pools) -> wasmtime::Result<Engine> {
    let mut config = settings(concurrency);
    let pools = Pools { instances: pools.instances + SPARE_INSTANCES, ..pools };
    let instances = pools.instances;
    let mut make = |keep_resident: Option<usize>| {
        let pool = pool(needs, instances, keep_resident);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        Engine::new(&config)
    };
    let keep = keep_resident(needs, pools);
    let scanned = if memory_can_be_swapped() {
        info!("memory: swap is on, so the scan of dirty pages is not used");
        None
    } else {
        make(Some(keep)).inspect_err(|why| info!(%why, "memory: no scan of dirty pages here")).ok()
    };
    let engine = match scanned {
        Some(engine) => {
            info!(instances, keep_resident = keep, "memory: reset by scan of dirty pages");
            engine
        }
        None => {
            let engine = make(None)?;
            info!(instances, "memory: reset by the kernel");
            engine
        }
    };
    Ok(engine)
}

fn pool(needs: &Needs, instances: usize, keep_resident: Option<usize>) -> PoolingAllocationConfig {
    let instances = u32::try_from(instances).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_EACH))
        .max_core_instances_per_component(CORE_INSTANCES_EACH)
        .total_memories(instances.saturating_mul(needs.memories))
        .max_memories_per_component(needs.memories)
        .total_tables(instances.saturating_mul(needs.tables))
        .max_tables_per_component(needs.tables)
        .max_tables_per_module(needs.tables.max(1))
        .table_elements(TABLE_ELEMENTS)
        .total_stacks(instances)
        .max_memory_size(LARGEST_MEMORY)
        .max_unused_warm_slots(instances);
    if let Some(keep) = keep_resident {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(keep)
            .table_keep_resident(TABLE_KEEP_RESIDENT);
    }
    pool
}

/// What slots keep together, where guests may have so much: what is kept is not counted as theirs.
fn resident_in_all(memory: Option<u64>) -> usize {
    let part =
        memory.map_or(usize::MAX, |memory| usize::try_from(memory / 8).unwrap_or(usize::MAX));
    part.min(KEEP_RESIDENT_IN_ALL)
}

fn keep_resident(needs: &Needs, pools: Pools) -> usize {
    let (least, most) = (*KEEP_RESIDENT.start(), *KEEP_RESIDENT.end());
    let initial = usize::try_from(needs.initial_memory).unwrap_or(most).min(most);
    initial.next_power_of_two().max(least).min(pools.resident / pools.instances.max(1))
}

/// Whether the kernel may write pages of ours to a disk. Unknown counts as yes.
fn memory_can_be_swapped() -> bool {
    match fs::read_to_string("/proc/swaps") {
        Ok(table) => swap_is_on(&table),
        Err(_) => true,
    }
}

/// The first line of /proc/swaps is a heading; every other one is an active swap area.
fn swap_is_on(table: &str) -> bool {
    table.lines().skip(1).any(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_table_without_areas_means_no_swap() {
        let heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert!(!swap_is_on(heading));
        assert!(swap_is_on(&format!("{heading}/dev/sda2 partition 1 0 -2\n")));
    }

    #[test]
    fn resident_memory_follows_the_component_within_bounds() {
        let of = |initial_memory| Needs { memories: 1, tables: 2, initial_memory };
        let kept = |needs, instances, memory| {
            keep_resident(&needs, Pools { instances, resident: resident_in_all(memory) })
        };
        assert_eq!(kept(of(0), 1, None), 2 << 20);
        assert_eq!(kept(of(10 << 20), 1, None), 16 << 20);
        assert_eq!(kept(Needs::TYPICAL, 1, None), 2 << 20);
        assert_eq!(kept(of(100 << 20), 1, None), 16 << 20);
        assert_eq!(kept(of(100 << 20), 1 << 12, None), 1 << 20);
        assert_eq!(kept(of(100 << 20), 1 << 10, Some(192 << 20)), 24 << 10, "of a small cgroup");
    }
}
