//! The CPU time of a guest's polls.
//!
//! A poll lasts until the guest waits or the next tick stops it. It costs as long as it lasted. If that is longer than
//! [`SHORT`], the thread may have been stopped (SIGSTOP, `docker pause`), or had no core for a while. Then the thread's
//! CPU clock is read. That takes a system call, so only long polls do it, and now and then another poll, to have a
//! reading to compare with.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::Instant;

use crate::component::tick::TickCounter;

/// The greatest age of a reading before a poll, in ticks. CPU time of the thread since the reading counts as the
/// poll's.
const FRESH: u64 = 2;

/// A poll that is no longer costs as long as it lasted.
const SHORT: Duration = Duration::from_millis(2);

thread_local! {
    /// The last reading of this thread's CPU clock and what short polls have cost since, and the tick of the reading.
    static READING: Cell<Option<(u64, Duration)>> = const { Cell::new(None) };
}

/// A poll under way. Begun and ended on one thread.
pub(crate) struct PollTimer<'a> {
    ticks: &'a TickCounter,
    /// The tick in which it began.
    tick: u64,
    began: Instant,
}

impl<'a> PollTimer<'a> {
    /// A poll begins.
    pub(crate) fn begin(ticks: &'a TickCounter) -> Self {
        let tick = ticks.now();
        let fresh = |(at, _): &(u64, Duration)| tick.wrapping_sub(*at) <= FRESH;
        if READING.get().filter(fresh).is_none() {
            READING.set(Some((tick, cpu_time())));
        }
        Self { ticks, tick, began: Instant::now() }
    }

    /// The tick in which it began.
    pub(crate) fn tick(&self) -> u64 {
        self.tick
    }

    /// When it began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// The poll has ended. Returns its cost.
    pub(crate) fn end(self) -> Duration {
        let took = self.began.elapsed();
        if took <= SHORT {
            // So the next long poll does not cost it once more.
            READING.set(READING.get().map(|(tick, cpu)| (tick, cpu + took)));
            return took;
        }
        let cpu = cpu_time();
        let before = READING.replace(Some((self.ticks.now(), cpu)));
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
    use crate::component::tick::TICK;

    /// Ticks, as many as a clock would have counted meanwhile.
    fn pass(ticks: &TickCounter, count: u64) {
        (0..count).for_each(|_| ticks.advance());
    }

    /// After a stop of several seconds, a process found that its guests had used all of their CPU time.
    #[test]
    fn a_poll_costs_what_its_thread_computed_and_not_how_long_it_lasted() {
        let ticks = TickCounter::default();
        pass(&ticks, 10 * FRESH);
        let poll = PollTimer::begin(&ticks);
        thread::sleep(10 * TICK);
        pass(&ticks, 10);
        let cost = poll.end();
        assert!(cost < Duration::from_millis(50), "a thread that did not run: {cost:?}");
        let (poll, before) = (PollTimer::begin(&ticks), cpu_time());
        while cpu_time() - before < Duration::from_millis(100) {}
        pass(&ticks, 10);
        let cost = poll.end();
        assert!(cost >= Duration::from_millis(100), "one that did: {cost:?}");
    }

    /// On a busy machine a poll is short or has to share its core: what a short one had cost, the long one behind it cost
    /// too. A component had used more CPU time than the whole process.
    #[test]
    fn no_time_costs_twice() {
        let ticks = TickCounter::default();
        pass(&ticks, 10 * FRESH);
        let before = cpu_time();
        let spin = |micros| {
            let before = cpu_time();
            while cpu_time() - before < Duration::from_micros(micros) {}
        };
        let poll = PollTimer::begin(&ticks);
        spin(1_000);
        let short = poll.end();
        let poll = PollTimer::begin(&ticks);
        spin(3_000);
        // Somebody else has the core.
        thread::sleep(TICK);
        let long = poll.end();
        let taken = cpu_time() - before;
        assert!(short + long <= taken, "{short:?} and {long:?} of {taken:?}");
    }

    /// A guest that waits before each tick computed for nothing, and what short exchanges used was in no sum.
    #[test]
    fn every_poll_costs_its_time() {
        let ticks = TickCounter::default();
        let (mut costs, mut computed) = (Duration::ZERO, Duration::ZERO);
        for micros in [0, 50, 500, 2_000] {
            let poll = PollTimer::begin(&ticks);
            let (began, before) = (poll.began(), cpu_time());
            while cpu_time() - before < Duration::from_micros(micros) {}
            let cost = poll.end();
            costs += cost;
            computed += Duration::from_micros(micros);
            assert!(costs >= computed && cost <= began.elapsed(), "{costs:?} of {computed:?}");
        }
    }
}
