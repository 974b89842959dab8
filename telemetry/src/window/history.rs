//! The last 15 minutes, for plots.

use std::time::Duration;

use super::clock::{PLOT_SLICES, SLICE_SECONDS};
use super::ring::{SecondCount, ring};

/// The last 15 minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The number of the oldest point, counted from the beginning of the window.
    pub first: u64,
    /// All exchanges.
    pub all: Vec<HistoryPoint>,
    /// Components with traffic, those with most of it first.
    pub components: Vec<HistorySeries>,
    /// What the rest of them did, if there are more. Without times: percentiles do not add up.
    pub other: Option<Vec<HistoryPoint>>,
}

/// The points of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistorySeries {
    /// The component.
    pub name: &'static str,
    /// As many as [`History::all`] has.
    pub points: Vec<HistoryPoint>,
}

/// What ended in [`Self::SPAN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryPoint {
    /// How many, and how many of them were errors.
    pub sum: SecondCount,
    /// Half of those that came to their end took no longer than this.
    pub p50: Option<Duration>,
    /// 99 of 100 took no longer than this.
    pub p99: Option<Duration>,
}

impl HistoryPoint {
    /// The time of a point.
    pub const SPAN: Duration = Duration::from_secs(SLICE_SECONDS);
}

/// The points of one thing that is counted. Written lazily: a place is of the slice that it says.
#[derive(Debug)]
pub(super) struct PlotRing {
    latest: u64,
    points: [StoredPoint; PLOT_SLICES],
}

#[derive(Clone, Copy, Debug)]
struct StoredPoint {
    /// Of a slice; 32 bits last for 680 years.
    number: u32,
    sum: SecondCount,
    /// Microseconds; `u32::MAX` for none.
    p50: u32,
    p99: u32,
}

impl StoredPoint {
    const NONE: Self =
        Self { number: u32::MAX, sum: SecondCount { requests: 0, errors: 0 }, p50: 0, p99: 0 };
}

impl Default for PlotRing {
    fn default() -> Self {
        Self { latest: 0, points: [StoredPoint::NONE; PLOT_SLICES] }
    }
}

impl PlotRing {
    /// The slice of this number came to `point`.
    pub(super) fn set(&mut self, number: u64, point: HistoryPoint) {
        self.latest = number;
        if let Some(place) = self.points.get_mut(ring(number, PLOT_SLICES)) {
            let (p50, p99) = (micros(point.p50), micros(point.p99));
            *place = StoredPoint { number: short(number), sum: point.sum, p50, p99 };
        }
    }

    /// Whether nothing of it is shown when `latest` is the latest slice.
    pub(super) fn is_over(&self, latest: u64) -> bool {
        latest >= self.latest + PLOT_SLICES as u64
    }

    /// The point of this slice.
    pub(super) fn point(&self, number: u64) -> HistoryPoint {
        let place = self.points.get(ring(number, PLOT_SLICES));
        place.filter(|place| place.number == short(number)).map_or_else(
            HistoryPoint::default,
            |place| HistoryPoint {
                sum: place.sum,
                p50: duration(place.p50),
                p99: duration(place.p99),
            },
        )
    }

    /// How many ended in these slices.
    pub(super) fn requests(&self, numbers: impl Iterator<Item = u64>) -> u64 {
        numbers.map(|number| u64::from(self.point(number).sum.requests)).sum()
    }
}

fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX - 1)
}

fn micros(duration: Option<Duration>) -> u32 {
    duration.map_or(u32::MAX, |it| u32::try_from(it.as_micros()).unwrap_or(u32::MAX - 1))
}

fn duration(micros: u32) -> Option<Duration> {
    (micros != u32::MAX).then(|| Duration::from_micros(micros.into()))
}
