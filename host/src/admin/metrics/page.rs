//! The page of `/metrics`: families of samples, in the text of OpenMetrics.

use std::fmt;

use host_telemetry::Histogram;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// A label and its value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// Upper bounds of the buckets that are told, in seconds: those of OpenTelemetry's conventions for HTTP, and some
/// below and above them. All are bounds of [`Histogram`].
const BOUNDS: [f64; 20] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5,
    5.0, 7.5, 10.0, 30.0, 60.0,
];

/// What a family is called, and what its help says.
pub(super) struct Family {
    /// Without the unit, and without `_total`.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
}

/// A family without a unit.
pub(super) const fn family(name: &'static str, help: &'static str) -> Family {
    Family { name, help, unit: None }
}

/// A family in seconds.
pub(super) const fn seconds(name: &'static str, help: &'static str) -> Family {
    Family { name, help, unit: Some(Unit::Seconds) }
}

/// A family in bytes.
pub(super) const fn bytes(name: &'static str, help: &'static str) -> Family {
    Family { name, help, unit: Some(Unit::Bytes) }
}

/// Writes families, one after the other.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

/// The samples of one family.
pub(super) struct Samples<'a>(MetricEncoder<'a>);

impl Page<'_> {
    /// Writes a family of gauges.
    pub(super) fn gauges(
        &mut self,
        family: &Family,
        write: impl FnOnce(&mut Samples<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.family(family, MetricType::Gauge, write)
    }

    /// Writes a gauge that stands alone.
    pub(super) fn gauge(&mut self, family: &Family, value: f64) -> fmt::Result {
        self.gauges(family, |samples| samples.gauge(&[], value))
    }

    /// Writes a family of counters.
    pub(super) fn counters(
        &mut self,
        family: &Family,
        write: impl FnOnce(&mut Samples<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.family(family, MetricType::Counter, write)
    }

    /// Writes a family of histograms.
    pub(super) fn histograms(
        &mut self,
        family: &Family,
        write: impl FnOnce(&mut Samples<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.family(family, MetricType::Histogram, write)
    }

    fn family(
        &mut self,
        Family { name, help, unit }: &Family,
        kind: MetricType,
        write: impl FnOnce(&mut Samples<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write(&mut Samples(self.0.encode_descriptor(name, help, unit.as_ref(), kind)?))
    }
}

impl Samples<'_> {
    /// Writes the sample of these labels.
    pub(super) fn gauge(&mut self, labels: &[Label<'_>], value: f64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_gauge(&value)
    }

    /// The same of a counter.
    pub(super) fn counter(&mut self, labels: &[Label<'_>], value: f64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// The same of a histogram.
    pub(super) fn histogram(&mut self, labels: &[Label<'_>], histogram: &Histogram) -> fmt::Result {
        let (sum, count) = (histogram.sum().as_secs_f64(), histogram.count());
        let buckets = buckets(histogram);
        self.0.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

/// The buckets that are told: those of the histogram between two bounds are one.
fn buckets(histogram: &Histogram) -> Vec<(f64, u64)> {
    let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]);
    let mut told: Vec<_> = bounds.map(|bound| (bound, 0)).collect();
    for (bound, count) in histogram.buckets() {
        // Bounds are whole microseconds, so a nanosecond is none of theirs.
        let seconds = bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64() - 1e-9);
        let index = BOUNDS.partition_point(|told| *told < seconds);
        if let Some((_, sum)) = told.get_mut(index) {
            *sum += count;
        }
    }
    told
}

/// A whole number as a sample's value. Beyond 2^53 it is rounded.
#[expect(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_duration_is_told_below_the_bound_above_it() {
        let mut histogram = Histogram::default();
        for micros in [100, 101, 2_500, 2_501, 60_000_000, 61_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let told: Vec<_> =
            buckets(&histogram).into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            told,
            [(0.0001, 1), (0.0005, 1), (0.0025, 1), (0.005, 1), (60.0, 1), (f64::INFINITY, 1)]
        );
    }
}
