//! CPU time of an instance that serves several exchanges: each adds its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// CPU time of an instance: each exchange adds its own.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter {
    spent: AtomicU64,
    allowed: AtomicU64,
}

impl CpuMeter {
    /// An exchange begins. `alone` says that no other is being served.
    pub(crate) fn allow(&self, more: Duration, alone: bool) {
        let base = if alone { &self.spent } else { &self.allowed };
        let allowed = base.load(Ordering::Relaxed).saturating_add(nanos(more));
        self.allowed.store(allowed, Ordering::Relaxed);
    }

    /// An exchange has ended, and `left` others are being served. They do not inherit its unused time: no more
    /// is left than each of them brought.
    pub(crate) fn bound(&self, each: Duration, left: usize) {
        let each = nanos(each).saturating_mul(left.max(1) as u64);
        let most = self.spent.load(Ordering::Relaxed).saturating_add(each);
        self.allowed.fetch_min(most, Ordering::Relaxed);
    }

    /// All of it so far.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Ordering::Relaxed))
    }

    /// Adds up CPU time. False when it is used up.
    pub(crate) fn spend(&self, time: Duration) -> bool {
        let spent = self.spent.fetch_add(nanos(time), Ordering::Relaxed) + nanos(time);
        spent <= self.allowed.load(Ordering::Relaxed)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exchange_adds_its_own_cpu_time() {
        let meter = CpuMeter::default();
        let second = Duration::from_secs(1);
        meter.allow(second, true);
        assert!(meter.spend(second));
        assert!(!meter.spend(Duration::from_nanos(1)));
        meter.allow(second, true);
        assert!(meter.spend(second), "what the one before used up is not the next one's fault");
        meter.allow(second, true);
        meter.allow(second, false);
        assert!(meter.spend(2 * second), "two at once may use as much as two");
        assert!(!meter.spend(Duration::from_nanos(1)));
        meter.allow(second, true);
        for _ in 0..100 {
            meter.allow(second, false);
            meter.bound(second, 1);
        }
        assert!(meter.spend(second), "of a hundred that overlap, one is left");
        assert!(!meter.spend(Duration::from_nanos(1)), "with what it brought");
    }
}
