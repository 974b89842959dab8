//! The engine: where the memory of guests comes from, and the epoch that interrupts them.
//! `host_code::settings` has the settings of the compiler.
//!
//! A fresh instance per request is cheap only if its memory is. So slots are made once, and after a
//! request a scan finds the pages that it wrote and resets them in place. The scan of wasmtime 48 misses
//! pages that the kernel has swapped out (wasmtime pull request 14357), so it is used only on machines
//! without swap. On others the kernel takes all pages back, which is slower.

use std::fmt;
use std::fs;
use std::sync::{Mutex, PoisonError};

use host_code::settings;
use tracing::info;
use wasmtime::component::Component;
use wasmtime::{Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::epoch::EpochClock;
use crate::component::slot_size::{CORE_INSTANCES_EACH, TABLE_ELEMENTS, WASM_PAGE};

/// Instances in addition to those that serve: the trial at load.
const SPARE_INSTANCES: usize = 8;

/// Bytes of a slot that are reset in place instead of being returned to the kernel: at least what a
/// small guest writes, at most what a JavaScript engine writes.
const KEEP_RESIDENT: std::ops::RangeInclusive<usize> = 2 << 20..=16 << 20;

/// All slots together keep at most this many bytes.
const KEEP_RESIDENT_IN_ALL: usize = 4 << 30;

const TABLE_KEEP_RESIDENT: usize = 64 << 10;

/// A pool has at least the tables of a component built with Rust's toolchain, so that most components share
/// one.
const LEAST_TABLES: u32 = 2;

/// The address space of a slot. The store's limiter decides how much of it an instance may use.
const LARGEST_MEMORY: usize = 4 << 30;

/// The sizes that each pool is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pools {
    /// Instances at once.
    instances: usize,
    /// Bytes that all its slots together keep.
    resident: usize,
}

/// The part of the pool that one instance of a component uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) memories: u32,
    pub(crate) tables: u32,
    pub(crate) initial_memory: u64,
}

impl Needs {
    /// Adds a memory that begins with so many bytes.
    pub(crate) fn add_memory(&mut self, bytes: u64) {
        self.memories = self.memories.saturating_add(1);
        self.initial_memory = self.initial_memory.max(bytes);
    }

    /// Adds so many tables.
    pub(crate) fn add_tables(&mut self, tables: u32) {
        self.tables = self.tables.saturating_add(tables);
    }

    /// The needs of loaded code. None if it instantiates modules that it imports.
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
            && self.tables.max(LEAST_TABLES) >= other.tables
            && keep_resident(self, pools) == keep_resident(other, pools)
    }
}

/// The engines of the process: one for each kind of pool in use. Components of the same kind and needs
/// share an engine, so most swaps need no new one. An engine is dropped with the last generation that
/// uses it.
pub(crate) struct Engines {
    pools: Pools,
    clock: EpochClock,
    made: Mutex<Vec<Made>>,
    /// Engines without a pool, one for each kind, that measure components and run no guest.
    rulers: Mutex<[Option<Engine>; 2]>,
}

struct Made {
    needs: Needs,
    concurrency: bool,
    engine: EngineWeak,
    kept: Option<usize>,
}

impl fmt::Debug for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engines")
    }
}

impl Engines {
    /// Engines for this many instances at once, which may use this many bytes together.
    pub(crate) fn new(instances: usize, memory: Option<u64>, clock: EpochClock) -> Self {
        let pools = Pools { instances, resident: resident_in_all(memory) };
        Self { pools, clock, made: Mutex::default(), rulers: Mutex::default() }
    }

    /// The sizes that each pool is made with.
    pub(crate) fn pools(&self) -> Pools {
        self.pools
    }

    /// The engine for components with these needs. Makes one if there is none.
    pub(crate) fn get(&self, needs: Needs, concurrency: bool) -> wasmtime::Result<Engine> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|made| made.engine.upgrade().is_some());
        let fitting =
            |made: &Made| made.concurrency == concurrency && made.needs.serves(&needs, self.pools);
        if let Some(engine) =
            made.iter().find(|made| fitting(made)).and_then(|made| made.engine.upgrade())
        {
            return Ok(engine);
        }
        let (engine, kept) = engine(&needs, concurrency, self.pools)?;
        self.clock.drive(&engine);
        made.push(Made { needs, concurrency, engine: engine.weak(), kept });
        Ok(engine)
    }

    /// Bytes that the slots of this engine keep, each. None if they are reset without a scan.
    pub(crate) fn kept(&self, engine: &Engine) -> Option<usize> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it =
            |made: &&Made| made.engine.upgrade().is_some_and(|it| Engine::same(&it, engine));
        made.iter().find(is_it)?.kept
    }

    /// An engine that takes components of any size. It measures them, and tells how to compile for a kind.
    pub(crate) fn ruler(&self, concurrency: bool) -> wasmtime::Result<Engine> {
        let mut rulers = self.rulers.lock().unwrap_or_else(PoisonError::into_inner);
        let ruler = &mut rulers[usize::from(concurrency)];
        match ruler {
            Some(ruler) => Ok(ruler.clone()),
            None => Ok(ruler.insert(Engine::new(&settings(concurrency))?).clone()),
        }
    }
}

/// Makes an engine with a pool of the right size. Beside it the bytes that each slot keeps, if a scan resets it.
fn engine(
    needs: &Needs,
    concurrency: bool,
    pools: Pools,
) -> wasmtime::Result<(Engine, Option<usize>)> {
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
    if let Some(engine) = scanned {
        info!(instances, keep_resident = keep, "memory: reset by scan of dirty pages");
        return Ok((engine, Some(keep)));
    }
    let engine = make(None)?;
    info!(instances, "memory: reset by the kernel");
    Ok((engine, None))
}

fn pool(needs: &Needs, instances: usize, keep_resident: Option<usize>) -> PoolingAllocationConfig {
    let instances = u32::try_from(instances).unwrap_or(u32::MAX);
    let tables = needs.tables.max(LEAST_TABLES);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_EACH))
        .max_core_instances_per_component(CORE_INSTANCES_EACH)
        .total_memories(instances.saturating_mul(needs.memories))
        .max_memories_per_component(needs.memories)
        .total_tables(instances.saturating_mul(tables))
        .max_tables_per_component(tables)
        .max_tables_per_module(tables)
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

/// Bytes that all slots together keep, where guests may use `memory`: kept pages are not counted as theirs.
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

/// Whether the kernel may swap our pages out. Unknown counts as yes.
fn memory_can_be_swapped() -> bool {
    match fs::read_to_string("/proc/swaps") {
        Ok(table) => swap_is_on(&table),
        Err(_) => true,
    }
}

/// Whether /proc/swaps lists an active area: its first line is a heading, each other line is an area.
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
    fn components_alike_share_an_engine_and_it_goes_with_its_last_user() {
        let engines = Engines::new(2, None, EpochClock::start().unwrap());
        let get = |memories, tables| {
            let needs = Needs { memories, tables, initial_memory: 17 << 16 };
            engines.get(needs, false).unwrap()
        };
        let first = get(1, 1);
        assert!(Engine::same(&first, &get(1, 2)), "a pool has two tables at least");
        assert!(!Engine::same(&first, &get(1, 3)));
        assert!(!Engine::same(&first, &get(2, 1)));
        let weak = first.weak();
        drop(first);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn resident_memory_follows_the_component_within_bounds() {
        let needs = |initial_memory| Needs { memories: 1, tables: 2, initial_memory };
        let kept = |needs, instances, memory| {
            keep_resident(&needs, Pools { instances, resident: resident_in_all(memory) })
        };
        assert_eq!(kept(needs(0), 1, None), 2 << 20);
        assert_eq!(kept(needs(10 << 20), 1, None), 16 << 20);
        assert_eq!(kept(needs(17 << 16), 1, None), 2 << 20);
        assert_eq!(kept(needs(100 << 20), 1, None), 16 << 20);
        assert_eq!(kept(needs(100 << 20), 1 << 12, None), 1 << 20);
        assert_eq!(kept(needs(100 << 20), 1 << 10, Some(192 << 20)), 24 << 10, "of a small cgroup");
    }
}
