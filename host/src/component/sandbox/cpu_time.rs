//! The CPU time of a guest's polls.
//!
//! Most guests are done before the engine's next tick. So a poll costs nothing if it begins in the same tick as
//! its exchange, and ends before the next. After that tick every poll is timed. So up to a tick of what an
//! exchange uses is not counted, however its guest divides its work into polls.
//!
//! A poll lasts until the guest waits or the next tick stops it. If it lasted longer, the thread may have
//! been stopped (SIGSTOP, `docker pause`), or had no core. Then the thread's CPU clock is read. That takes a
//! system call, so only long polls do it, and now and then another poll, to have a reading to compare with.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::Instant;

use crate::component::tick::{TICK, TickCounter};

/// The greatest age of a reading before a poll, in ticks. CPU time of the thread since the reading counts as the
/// poll's.
const FRESH: u64 = 2;

thread_local! {
    /// The last reading of this thread's CPU clock, and its tick.
    static READING: Cell<Option<(u64, Duration)>> = const { Cell::new(None) };
}

/// A poll under way. Begun and ended on one thread.
pub(crate) struct PollTimer<'a> {
    ticks: &'a TickCounter,
    /// The tick in which it began.
    tick: u64,
    /// None for a poll that no clock was read for.
    began: Option<Instant>,
    /// It costs its time even if no tick meets it.
    timed: bool,
}

impl<'a> PollTimer<'a> {
    /// A poll begins, in an exchange that was polled first in the tick `first`, or is polled first now.
    pub(crate) fn begin(ticks: &'a TickCounter, first: Option<u64>) -> Self {
        let tick = ticks.now();
        let fresh = |(at, _): &(u64, Duration)| tick.wrapping_sub(*at) <= FRESH;
        if READING.get().filter(fresh).is_none() {
            READING.set(Some((tick, cpu_time())));
        }
        let began = (first != Some(tick)).then(Instant::now);
        Self { ticks, tick, began, timed: first.is_some_and(|first| first != tick) }
    }

    /// The tick in which it began.
    pub(crate) fn tick(&self) -> u64 {
        self.tick
    }

    /// When it began, if a clock was read.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.began
    }

    /// The poll has ended. Returns its cost.
    pub(crate) fn end(self) -> Duration {
        let tick = self.ticks.now();
        let passed = tick.wrapping_sub(self.tick);
        if passed == 0 && !self.timed {
            return Duration::ZERO;
        }
        let took = match self.began {
            Some(began) => began.elapsed(),
            // At least the whole ticks within it.
            None => TICK * u32::try_from(passed - 1).unwrap_or(u32::MAX),
        };
        if took <= TICK {
            return took;
        }
        let cpu = cpu_time();
        let before = READING.replace(Some((tick, cpu)));
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

    /// Ticks, as many as a clock would have counted meanwhile.
    fn pass(ticks: &TickCounter, count: u64) {
        (0..count).for_each(|_| ticks.advance());
    }

    /// After a stop of several seconds, a process found that its guests had used all of their CPU time.
    #[test]
    fn a_poll_costs_what_its_thread_computed_and_not_how_long_it_lasted() {
        let ticks = TickCounter::default();
        pass(&ticks, 10 * FRESH);
        let poll = PollTimer::begin(&ticks, None);
        thread::sleep(10 * TICK);
        pass(&ticks, 10);
        let cost = poll.end();
        assert!(cost < Duration::from_millis(50), "a thread that did not run: {cost:?}");
        let (poll, before) = (PollTimer::begin(&ticks, None), cpu_time());
        while cpu_time() - before < Duration::from_millis(100) {}
        pass(&ticks, 10);
        let cost = poll.end();
        assert!(cost >= Duration::from_millis(100), "one that did: {cost:?}");
    }

    /// A process that is stopped has no ticks either: the thread that counts them stands still with the others.
    #[test]
    fn a_poll_that_no_tick_meets_costs_nothing_in_the_first_tick_of_its_exchange() {
        let ticks = TickCounter::default();
        for first in [None, Some(ticks.now())] {
            let poll = PollTimer::begin(&ticks, first);
            assert_eq!(poll.began().is_some(), first.is_none(), "the clock is read once");
            thread::sleep(2 * TICK);
            assert_eq!(poll.end(), Duration::ZERO);
        }
    }

    /// A guest that waits before each tick would compute for nothing, if only ticks counted.
    #[test]
    fn every_poll_costs_its_time_after_the_first_tick_of_its_exchange() {
        let ticks = TickCounter::default();
        let first = ticks.now();
        pass(&ticks, 1);
        let poll = PollTimer::begin(&ticks, Some(first));
        let (began, before) = (poll.began().unwrap(), cpu_time());
        while cpu_time() - before < Duration::from_millis(2) {}
        let cost = poll.end();
        assert!(cost >= Duration::from_millis(2) && cost <= began.elapsed(), "{cost:?}");
    }

    #[test]
    fn a_poll_that_ticks_meet_costs_at_least_the_whole_ticks_within_it() {
        let ticks = TickCounter::default();
        let poll = PollTimer::begin(&ticks, Some(ticks.now()));
        let before = cpu_time();
        while cpu_time() - before < 4 * TICK {}
        pass(&ticks, 4);
        assert_eq!(poll.end(), 3 * TICK, "no clock was read when it began");
    }
}
