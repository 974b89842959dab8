//! Pages of its memory that an instance writes to before it serves, so that wasmtime resets in place what requests
//! write (docs/adr/0039).
//!
//! Only large components have the module that asks for them (crate `host_prefault`). From time to time the kernel is asked
//! which pages of an instance's memory are its own: those that have been written in its slot.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use host_prefault::{PAGE, Pages, packed, plan};
use tracing::debug;

/// From this instance of a worker on, only each multiple of it is looked at.
const SELDOM: u32 = 1024;

/// Pages at the beginning of a memory that are looked at: 64 MiB.
const MOST_PAGES: u64 = 16 << 10;

/// A generation's pages, as one worker sees them. Its counter is written for each instance of a large component.
pub(crate) struct Prefault {
    /// None where nothing is learned.
    learned: Option<Arc<Learned>>,
    instances: AtomicU32,
}

impl Prefault {
    /// For a generation whose engine keeps so many bytes of each slot. None if it resets without a scan, and then
    /// nothing is written.
    pub(crate) fn new(kept: Option<usize>) -> Self {
        let fits = rustix::param::page_size() as u64 == PAGE;
        let learned =
            kept.filter(|_| fits).map(|bytes| Learned::new(bytes / rustix::param::page_size()));
        Self { learned: learned.map(Arc::new), instances: AtomicU32::new(0) }
    }

    /// The same for the stores of another worker.
    pub(crate) fn for_worker(&self) -> Self {
        Self { learned: self.learned.clone(), instances: AtomicU32::new(0) }
    }

    /// Whether the memory of another instance is looked at: of the first, the second, the fourth and so on.
    fn samples(&self) -> bool {
        let instance = self.instances.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        instance.is_multiple_of(SELDOM) || instance.is_power_of_two() && instance < SELDOM
    }
}

/// The memory of an instance: its address and its length in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuestMemory {
    pub(crate) address: usize,
    pub(crate) bytes: u64,
}

/// How far an instance is with its pages. Drop it before the memory.
#[derive(Default)]
pub(crate) struct PrefaultProgress {
    asked: usize,
    _sample: Option<Sample>,
}

impl PrefaultProgress {
    /// The next range of pages, as the module takes it.
    pub(crate) fn next(&mut self, terms: &Prefault, memory: GuestMemory) -> u64 {
        let Some(learned) = &terms.learned else { return 0 };
        if self.asked == 0 && terms.samples() {
            self._sample = Some(Sample { learned: learned.clone(), memory });
        }
        let plan = learned.plan.load();
        let next = plan.get(self.asked).filter(|pages| u64::from(pages.end) * PAGE <= memory.bytes);
        self.asked += 1;
        next.map_or(0, packed)
    }
}

/// An instance whose memory is looked at when it is dropped.
struct Sample {
    learned: Arc<Learned>,
    memory: GuestMemory,
}

impl Drop for Sample {
    fn drop(&mut self) {
        // Without it the plan stays as it is.
        if let Ok(written) = written(self.memory) {
            self.learned.add(written);
        }
    }
}

/// What is known of the instances of a generation.
struct Learned {
    /// Pages that a slot keeps.
    most: usize,
    plan: ArcSwap<Vec<Pages>>,
    /// Locked by samples only.
    pages: Mutex<KnownPages>,
}

#[derive(Default)]
struct KnownPages {
    written: BTreeSet<u32>,
    /// Those of plans. They stay in a slot, so it does not show whether the guest writes to them.
    planned: BTreeSet<u32>,
}

impl Learned {
    fn new(most: usize) -> Self {
        Self { most, plan: ArcSwap::default(), pages: Mutex::default() }
    }

    /// Adds pages that were found written, and plans anew.
    fn add(&self, written: impl IntoIterator<Item = u32>) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let KnownPages { written: known, planned } = &mut *pages;
        let before = known.len();
        known.extend(written.into_iter().filter(|page| !planned.contains(page)));
        if known.len() == before {
            return;
        }
        let plan = plan(known, self.most);
        planned.extend(plan.iter().cloned().flatten());
        let pages: usize = plan.iter().map(ExactSizeIterator::len).sum();
        debug!(written = known.len(), pages, "memory: pages that instances write to at first");
        self.plan.store(Arc::new(plan));
    }
}

/// The pages of a memory that have been written: present, not of a file, and mapped here only. The last tells them
/// from the page of zeroes, which all that only read share. See pagemap in the kernel's documentation.
fn written(memory: GuestMemory) -> io::Result<Vec<u32>> {
    const ENTRY: usize = size_of::<u64>();
    const PRESENT: u64 = 1 << 63;
    const OF_FILE: u64 = 1 << 61;
    const EXCLUSIVE: u64 = 1 << 56;
    let pages = (memory.bytes / PAGE).min(MOST_PAGES);
    let first = memory.address as u64 / PAGE;
    let mut entries = vec![0; usize::try_from(pages).unwrap_or(0) * ENTRY];
    File::open("/proc/self/pagemap")?.read_exact_at(&mut entries, first * ENTRY as u64)?;
    let (entries, _) = entries.as_chunks::<ENTRY>();
    let is_written = |entry: &[u8; ENTRY]| {
        let flags = u64::from_ne_bytes(*entry);
        flags & (PRESENT | EXCLUSIVE | OF_FILE) == PRESENT | EXCLUSIVE
    };
    let written = (0..).zip(entries).filter(|(_, entry)| is_written(entry));
    Ok(written.map(|(page, _)| page).collect())
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn pages_of_plans_are_not_taken_for_written_ones() {
        let learned = Learned::new(1000);
        let written = || (0..60).map(|page| page * 4);
        learned.add(written());
        let first = learned.plan.load_full();
        assert!(!first.is_empty());
        let filled: BTreeSet<u32> = first.iter().cloned().flatten().chain(written()).collect();
        learned.add(filled);
        assert_eq!(learned.pages.lock().unwrap().written.len(), 60);
        assert_eq!(learned.plan.load_full(), first);
    }

    #[test]
    fn instances_are_looked_at_less_and_less_often() {
        let prefault = Prefault::new(None);
        let looked_at = (1..=3072).filter(|_| prefault.samples()).collect::<Vec<u32>>();
        assert_eq!(looked_at, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3072]);
    }

    #[test]
    fn written_pages_are_told_from_others() {
        let page = rustix::param::page_size();
        // An allocator takes as much straight from the kernel, and nobody has written to it.
        let mut bytes = vec![0_u8; 64 << 20];
        let address = bytes.as_ptr().addr().next_multiple_of(page);
        let begin = address - bytes.as_ptr().addr();
        for number in [1, 2, 7] {
            bytes[begin + number * page] = 1;
        }
        // Reading maps the page of zeroes.
        assert_eq!(black_box(&bytes)[begin + 4 * page], 0);
        let memory = GuestMemory { address, bytes: 10 * PAGE };
        assert_eq!(written(memory).unwrap(), [1, 2, 7]);
    }

    /// Where the engine resets without a scan, what is written is given back all the same.
    #[test]
    fn nothing_is_learned_where_no_scan_resets() {
        let mut progress = PrefaultProgress::default();
        let memory = GuestMemory { address: 0, bytes: 1 << 22 };
        assert_eq!(progress.next(&Prefault::new(None), memory), 0);
        assert!(progress._sample.is_none());
    }

    #[test]
    fn an_instance_gets_the_ranges_that_lie_in_its_memory() {
        let prefault = Prefault::new(Some(16 << 20));
        let plan = [1..3, 5..8, 40..50];
        prefault.learned.as_ref().unwrap().plan.store(Arc::new(plan.to_vec()));
        // No power of two, so the memory is not looked at.
        prefault.instances.store(4, Ordering::Relaxed);
        for (pages, ranges) in [(50, &plan[..]), (49, &plan[..2]), (0, &[])] {
            let mut progress = PrefaultProgress::default();
            let memory = GuestMemory { address: 0, bytes: pages * PAGE };
            for range in ranges {
                assert_eq!(progress.next(&prefault, memory), packed(range));
            }
            assert_eq!(progress.next(&prefault, memory), 0);
            prefault.instances.store(4, Ordering::Relaxed);
        }
    }
}
