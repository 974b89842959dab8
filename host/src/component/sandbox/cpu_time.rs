//! The cost of a poll of a guest: the CPU time of its thread, where that differs from the time that passed.
//!
//! A poll lasts until the guest waits or the next tick stops it. If it lasted longer, the thread may have
//! been stopped (SIGSTOP, `docker pause`), or had no core. Then the thread's CPU clock is read. That takes a
//! system call, so only long polls do it, and now and then another poll, to have a reading to compare with.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::Instant;

/// A poll no longer than a tick of the engine costs the time that it lasted.
const SHORT: Duration = Duration::from_millis(10);

/// The greatest age of a reading before a poll. CPU time of the thread since the reading counts as the poll's.
const FRESH: Duration = Duration::from_millis(20);

thread_local! {
    /// The last reading of this thread's CPU clock, and its time.
    static READING: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// A poll under way. Begun and ended on one thread.
pub(crate) struct CpuTimer {
    began: Instant,
}

impl CpuTimer {
    /// The poll begins.
    pub(crate) fn begin() -> Self {
        let began = Instant::now();
        let fresh = |(at, _): &(Instant, Duration)| began.saturating_duration_since(*at) <= FRESH;
        if READING.get().filter(fresh).is_none() {
            READING.set(Some((began, cpu_time())));
        }
        Self { began }
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// The poll has ended.
    pub(crate) fn end(self) -> Duration {
        let took = self.began.elapsed();
        if took <= SHORT {
            return took;
        }
        let cpu = cpu_time();
        let before = READING.replace(Some((self.began + took, cpu)));
        before.map_or(took, |(_, before)| took.min(cpu.saturating_sub(before)))
    }
}

fn cpu_time() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(tv_sec), u32::try_from(tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// After a stop of several seconds, a process found that its guests had used all of their CPU time.
    #[test]
    fn a_poll_costs_what_its_thread_computed_and_not_how_long_it_lasted() {
        thread::sleep(2 * FRESH);
        let poll = CpuTimer::begin();
        thread::sleep(Duration::from_millis(100));
        let cost = poll.end();
        assert!(cost < Duration::from_millis(50), "a thread that did not run: {cost:?}");
        let (poll, before) = (CpuTimer::begin(), cpu_time());
        while cpu_time() - before < Duration::from_millis(100) {}
        let cost = poll.end();
        assert!(cost >= Duration::from_millis(100), "one that did: {cost:?}");
    }

    #[test]
    fn a_short_poll_costs_the_time_that_it_lasted() {
        let poll = CpuTimer::begin();
        let began = poll.began();
        let cost = poll.end();
        assert!(cost <= began.elapsed());
    }
}
