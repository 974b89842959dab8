//! What a component uses that is no exchange: CPU time, instances, requests of its own, key-value operations.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use host_shards::{OwnLines, Sharded};

use super::histogram::Histogram;
use super::lock::lock;

/// What all instances of a component, of all its generations, have used since the start of the process.
#[derive(Debug, Default)]
pub struct ComponentUsage {
    shards: Sharded<OwnLines<Shard>>,
    /// By the entry of the allow-list that granted them.
    outgoing: Mutex<BTreeMap<Box<str>, CallCounts>>,
    keyvalue: Mutex<BTreeMap<&'static str, CallCounts>>,
    code: Mutex<CodeTotals>,
}

#[derive(Debug, Default)]
struct Shard {
    /// Nanoseconds.
    cpu: AtomicU64,
    started: AtomicU64,
    starts: Mutex<Histogram>,
}

/// Calls of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Those that came to their end.
    pub done: u64,
    /// Those that failed.
    pub failed: u64,
}

/// Where code came from, and what that took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeTotals {
    /// Times that it was taken from the cache.
    pub cached: u64,
    /// How long the compiles took that gave code.
    pub compiles: Histogram,
    /// The most memory that the compiler had at the last of them, in bytes, where that is known.
    pub compile_memory: Option<u64>,
}

/// The sums at one moment.
#[derive(Clone, Debug, Default)]
pub struct UsageTotals {
    /// CPU time of its guests, with hooks and work after answers.
    pub cpu: Duration,
    /// Instances that were started.
    pub started: u64,
    /// How long that took, for one start in [`ComponentUsage::SAMPLE`].
    pub starts: Histogram,
    /// Requests that its guests sent, by the entry of the allow-list that granted them.
    pub outgoing: BTreeMap<Box<str>, CallCounts>,
    /// Key-value operations, by what they are called in `wasi:keyvalue`.
    pub keyvalue: BTreeMap<&'static str, CallCounts>,
    /// What its code took, of all its generations.
    pub code: CodeTotals,
}

impl ComponentUsage {
    /// One start in so many is timed: two looks at the clock cost more than the rest of what is counted.
    pub const SAMPLE: u64 = 16;

    /// A guest has used so much CPU time.
    pub fn spend(&self, cpu: Duration) {
        let nanos = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        self.shards.mine().cpu.fetch_add(nanos, Ordering::Relaxed);
    }

    /// An instance starts. Whether this start is to be timed.
    pub fn starts(&self) -> bool {
        let before = self.shards.mine().started.fetch_add(1, Ordering::Relaxed);
        before.is_multiple_of(Self::SAMPLE)
    }

    /// A start that was timed took so long.
    pub fn started_in(&self, took: Duration) {
        lock(&self.shards.mine().starts).observe(took);
    }

    /// A request that this entry of the allow-list grants has ended.
    pub fn outgoing(&self, granted: &str, failed: bool) {
        let mut outgoing = lock(&self.outgoing);
        match outgoing.get_mut(granted) {
            Some(counts) => counts.count(failed),
            None => outgoing.entry(granted.into()).or_default().count(failed),
        }
    }

    /// A key-value operation has ended.
    pub fn keyvalue(&self, operation: &'static str, failed: bool) {
        lock(&self.keyvalue).entry(operation).or_default().count(failed);
    }

    /// Code of it was in the cache.
    pub fn code_from_cache(&self) {
        lock(&self.code).cached += 1;
    }

    /// Code of it was compiled, in this time and with this peak of memory.
    pub fn compiled(&self, took: Duration, memory: Option<u64>) {
        let mut code = lock(&self.code);
        code.compiles.observe(took);
        code.compile_memory = memory;
    }

    /// The sums at this moment.
    #[must_use]
    pub fn totals(&self) -> UsageTotals {
        let (outgoing, keyvalue) = (lock(&self.outgoing).clone(), lock(&self.keyvalue).clone());
        let code = lock(&self.code).clone();
        let mut all = UsageTotals { outgoing, keyvalue, code, ..UsageTotals::default() };
        for shard in self.shards.iter() {
            all.cpu += Duration::from_nanos(shard.cpu.load(Ordering::Relaxed));
            all.started += shard.started.load(Ordering::Relaxed);
            all.starts.add(&lock(&shard.starts));
        }
        all
    }
}

impl CallCounts {
    fn count(&mut self, failed: bool) {
        self.done += 1;
        self.failed += u64::from(failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_threads_use_adds_up() {
        let usage = ComponentUsage::default();
        let millis = Duration::from_millis;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..32 {
                        usage.spend(millis(2));
                        if usage.starts() {
                            usage.started_in(millis(1));
                        }
                        usage.outgoing("https://api.example", false);
                        usage.keyvalue("get", true);
                    }
                });
            }
        });
        let totals = usage.totals();
        assert_eq!((totals.cpu, totals.started), (millis(256), 128));
        assert_eq!(totals.starts.count(), 128 / ComponentUsage::SAMPLE);
        assert_eq!(totals.outgoing["https://api.example"], CallCounts { done: 128, failed: 0 });
        assert_eq!(totals.keyvalue["get"], CallCounts { done: 128, failed: 128 });
    }
}
