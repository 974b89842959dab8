//! The last minute of one thing that is counted.

use std::time::Duration;

use super::clock::{MINUTE_SLICES, WindowTime};
use super::history::{HistoryPoint, PlotRing};
use super::ring::{SecondCount, ring};
use crate::histogram::{BUCKETS, Histogram};

/// The last minute of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastMinute {
    /// What is counted came in this time: a minute, up to 5 s less, and less than that while the process is younger.
    pub window: Duration,
    /// How many ended.
    pub requests: u64,
    /// How many of them were errors.
    pub errors: u64,
    /// How many ended in the latest second.
    pub latest: u64,
    /// Half of those that came to their end took no longer than this.
    pub p50: Option<Duration>,
    /// 99 of 100 took no longer than this.
    pub p99: Option<Duration>,
}

/// The sums of one thing since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cumulative {
    pub(super) ended: u64,
    pub(super) errors: u64,
    /// Of those that came to their end.
    pub(super) took: Histogram,
}

/// One thing that is counted. What it keeps of the last minute goes when that is over.
#[derive(Debug, Default)]
pub(super) struct Tally {
    before: Cumulative,
    recent: Option<Box<Recent>>,
    plot: Option<Box<PlotRing>>,
}

/// What was counted lately. Rings are written lazily: what is older than its place says is nothing.
#[derive(Debug)]
struct Recent {
    latest: u64,
    seconds: [SecondCount; SECONDS],
    slices: [Slice; MINUTE_SLICES],
}

const SECONDS: usize = 60;

/// What was counted in 5 s.
#[derive(Clone, Copy, Debug)]
struct Slice {
    number: u64,
    sum: SecondCount,
    took: [u32; BUCKETS],
}

impl Slice {
    const EMPTY: Self =
        Self { number: 0, sum: SecondCount { requests: 0, errors: 0 }, took: [0; BUCKETS] };

    fn took(&self) -> Histogram {
        let mut took = Histogram::default();
        took.add_counts(&self.took);
        took
    }
}

impl Tally {
    /// Takes note of the sums at `time`, the first look after them.
    pub(super) fn note(&mut self, sums: &Cumulative, time: WindowTime) {
        if sums.ended != self.before.ended {
            let since = Cumulative {
                ended: sums.ended.saturating_sub(self.before.ended),
                errors: sums.errors.saturating_sub(self.before.errors),
                took: sums.took.since(&self.before.took),
            };
            self.recent.get_or_insert_with(|| Box::new(Recent::at(time))).add(&since, time);
            self.before.clone_from(sums);
        } else if self.recent.as_ref().is_some_and(|recent| recent.is_over(time)) {
            self.recent = None;
        }
    }

    /// The slice before that of `time` is over: makes a point of it.
    pub(super) fn plot(&mut self, time: WindowTime) {
        let Some(over) = time.slice().checked_sub(1) else { return };
        if let Some(slice) = self.recent.as_ref().and_then(|recent| recent.slice(over)) {
            let (took, sum) = (slice.took(), slice.sum);
            let point = HistoryPoint { sum, p50: took.quantile(0.5), p99: took.quantile(0.99) };
            self.plot.get_or_insert_default().set(over, point);
        } else if self.plot.as_ref().is_some_and(|plot| plot.is_over(over)) {
            self.plot = None;
        }
    }

    /// What a plot shows, if there is anything.
    pub(super) fn plotted(&self) -> Option<&PlotRing> {
        self.plot.as_deref()
    }

    /// The last minute, if anything ended in it.
    pub(super) fn minute(&self, time: WindowTime) -> Option<LastMinute> {
        let recent = self.recent.as_ref()?;
        let mut minute = LastMinute { window: time.minute(), ..LastMinute::default() };
        let mut took = Histogram::default();
        for slice in recent.slices_from(time.first_of_minute()) {
            minute.requests += u64::from(slice.sum.requests);
            minute.errors += u64::from(slice.sum.errors);
            took.add_counts(&slice.took);
        }
        minute.latest = recent.second(time.second).requests.into();
        (minute.p50, minute.p99) = (took.quantile(0.5), took.quantile(0.99));
        (minute.requests > 0).then_some(minute)
    }

    /// Each second of the last minute, the oldest first.
    pub(super) fn seconds(&self, time: WindowTime) -> Vec<SecondCount> {
        let first = (time.second + 1).saturating_sub(SECONDS as u64);
        let second = |second| self.recent.as_ref().map(|recent| recent.second(second));
        (first..=time.second).map(|at| second(at).unwrap_or_default()).collect()
    }
}

#[cfg(test)]
impl Tally {
    /// Bytes that it keeps.
    pub(super) fn bytes(&self) -> usize {
        let recent = self.recent.as_ref().map_or(0, |recent| size_of_val(&**recent));
        let plot = self.plot.as_ref().map_or(0, |plot| size_of_val(&**plot));
        size_of::<Self>() + recent + plot
    }
}

impl Recent {
    fn at(time: WindowTime) -> Self {
        Self {
            latest: time.second,
            seconds: [SecondCount::default(); SECONDS],
            slices: [Slice::EMPTY; MINUTE_SLICES],
        }
    }

    fn add(&mut self, since: &Cumulative, time: WindowTime) {
        let sum = SecondCount { requests: narrow(since.ended), errors: narrow(since.errors) };
        // Seconds in which nothing ended were not written.
        for skipped in (self.latest + 1..time.second).take(SECONDS) {
            if let Some(place) = self.seconds.get_mut(ring(skipped, SECONDS)) {
                *place = SecondCount::default();
            }
        }
        if let Some(place) = self.seconds.get_mut(ring(time.second, SECONDS)) {
            *place = sum;
        }
        self.latest = time.second;
        let number = time.slice();
        if let Some(slice) = self.slices.get_mut(ring(number, MINUTE_SLICES)) {
            if slice.number != number {
                *slice = Slice { number, ..Slice::EMPTY };
            }
            slice.sum.add(sum);
            for (mine, (_, more)) in slice.took.iter_mut().zip(since.took.buckets()) {
                *mine = mine.saturating_add(narrow(more));
            }
        }
    }

    /// Whether nothing of it is of the last minute.
    fn is_over(&self, time: WindowTime) -> bool {
        time.second > self.latest + SECONDS as u64
    }

    fn second(&self, second: u64) -> SecondCount {
        let is_there = second <= self.latest && self.latest < second + SECONDS as u64;
        let count = self.seconds.get(ring(second, SECONDS)).filter(|_| is_there);
        count.copied().unwrap_or_default()
    }

    fn slice(&self, number: u64) -> Option<&Slice> {
        self.slices
            .get(ring(number, MINUTE_SLICES))
            .filter(|slice| slice.number == number && slice.sum.requests > 0)
    }

    fn slices_from(&self, first: u64) -> impl Iterator<Item = &Slice> {
        self.slices.iter().filter(move |slice| slice.number >= first)
    }
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
