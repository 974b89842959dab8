//! What the window keeps, and how a look at the sums changes it. Knows no clock.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::clock::{PLOT_SLICES, WindowTime};
use super::history::{History, HistoryPoint, HistorySeries, PlotRing};
use super::recent::{Cumulative, LastMinute, Tally};
use super::ring::SecondCount;
use crate::{End, RouteId, Series, SeriesKey, StageTotals, Traffic};

/// What the window keeps.
#[derive(Debug, Default)]
pub(super) struct WindowState {
    time: WindowTime,
    all: Tally,
    components: BTreeMap<&'static str, Tally>,
    /// By the number of the route.
    routes: Vec<Tally>,
    /// What the look under way has added up of each route; kept, so that a look allocates nothing.
    sums: Vec<Cumulative>,
}

impl WindowState {
    /// Looks at the sums at `time`.
    pub(super) fn tick(&mut self, traffic: &Traffic, time: WindowTime) {
        let slice_is_over = time.slice() > self.time.slice();
        if slice_is_over {
            self.all.plot(time);
            self.components.values_mut().for_each(|tally| tally.plot(time));
        }
        self.time = time;
        for component in traffic.component_traffic() {
            let tally = self.components.entry(component.name()).or_default();
            tally.note(&component.totals().into(), time);
        }
        let mut all = Cumulative::default();
        self.sums.fill_with(Cumulative::default);
        traffic.for_each_series(|key, series| {
            all.count(key, series);
            if let Some(route) = key.route {
                place(&mut self.sums, route).count(key, series);
            }
        });
        self.all.note(&all, time);
        self.routes.resize_with(self.sums.len(), Tally::default);
        for (tally, sums) in self.routes.iter_mut().zip(&self.sums) {
            tally.note(sums, time);
        }
    }

    pub(super) fn all(&self) -> LastMinute {
        let none = LastMinute { window: self.time.minute(), ..LastMinute::default() };
        self.all.minute(self.time).unwrap_or(none)
    }

    pub(super) fn seconds(&self) -> Vec<SecondCount> {
        self.all.seconds(self.time)
    }

    pub(super) fn components(&self) -> Vec<(&'static str, LastMinute)> {
        let minute =
            |(name, tally): (&&'static str, &Tally)| Some((*name, tally.minute(self.time)?));
        self.components.iter().filter_map(minute).collect()
    }

    pub(super) fn worst_routes(&self, at_most: usize) -> Vec<(RouteId, LastMinute)> {
        let minute = |(id, tally): (RouteId, &Tally)| Some((id, tally.minute(self.time)?));
        let mut routes: Vec<_> = (0..).zip(&self.routes).filter_map(minute).collect();
        routes.sort_by_key(|(id, minute)| (Reverse((minute.errors, minute.p99)), *id));
        routes.truncate(at_most);
        routes
    }

    pub(super) fn history(&self, at_most: usize) -> History {
        let end = self.time.slice();
        let first = end.saturating_sub(PLOT_SLICES as u64);
        let points = |ring: Option<&PlotRing>| -> Vec<HistoryPoint> {
            let point = |number| ring.map_or_else(HistoryPoint::default, |ring| ring.point(number));
            (first..end).map(point).collect()
        };
        let plotted = |(name, tally): (&&'static str, &Tally)| {
            let ring = tally.plotted()?;
            Some((ring.requests(first..end), *name, points(Some(ring))))
        };
        let mut series: Vec<_> =
            self.components.iter().filter_map(plotted).filter(|(sum, ..)| *sum > 0).collect();
        series.sort_by_key(|(sum, name, _)| (Reverse(*sum), *name));
        let rest = series.split_off(series.len().min(at_most));
        let other = (!rest.is_empty()).then(|| {
            let mut other = points(None);
            for (_, _, points) in &rest {
                for (sum, point) in other.iter_mut().zip(points) {
                    sum.sum.add(point.sum);
                }
            }
            other
        });
        let series = series.into_iter().map(|(_, name, points)| HistorySeries { name, points });
        History { first, all: points(self.all.plotted()), components: series.collect(), other }
    }
}

#[cfg(test)]
impl WindowState {
    /// Bytes that it keeps.
    pub(super) fn bytes(&self) -> usize {
        let tallies = self.routes.iter().chain(self.components.values()).chain([&self.all]);
        let sums = self.sums.len() * size_of::<Cumulative>();
        tallies.map(Tally::bytes).sum::<usize>() + sums
    }
}

impl Cumulative {
    fn count(&mut self, key: &SeriesKey, series: &Series) {
        let ended = series.took.count();
        self.ended += ended;
        if key.is_error() {
            self.errors += ended;
        }
        if key.end == End::Finished {
            self.took.add(&series.took);
        }
    }
}

impl From<StageTotals> for Cumulative {
    fn from(StageTotals { ended, errors, took, .. }: StageTotals) -> Self {
        Self { ended, errors, took }
    }
}

/// The place of a route, which there is from now on.
fn place(sums: &mut Vec<Cumulative>, route: RouteId) -> &mut Cumulative {
    let index = usize::try_from(route).unwrap_or(usize::MAX);
    if sums.len() <= index {
        sums.resize_with(index + 1, Cumulative::default);
    }
    &mut sums[index]
}
