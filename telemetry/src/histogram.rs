//! Durations, counted by how long they were.

use std::time::Duration;

/// Upper bounds of the buckets, in microseconds, each inclusive. Fine enough for a percentile that is right to a
/// quarter of its value; those of OpenTelemetry's conventions for HTTP are among them.
const BOUNDS: [u32; BUCKETS - 1] = [
    10, 20, 30, 50, 75, 100, 150, 200, 250, 300, 400, 500, 600, 750, 1_000, 1_250, 1_500, 2_000,
    2_500, 3_000, 4_000, 5_000, 6_000, 7_500, 10_000, 12_500, 15_000, 20_000, 25_000, 30_000,
    40_000, 50_000, 60_000, 75_000, 100_000, 125_000, 150_000, 200_000, 250_000, 300_000, 400_000,
    500_000, 600_000, 750_000, 1_000_000, 1_250_000, 1_500_000, 2_000_000, 2_500_000, 3_000_000,
    4_000_000, 5_000_000, 6_000_000, 7_500_000, 10_000_000, 15_000_000, 20_000_000, 30_000_000,
    60_000_000,
];

/// How many there are, with the one that has no upper bound.
pub(crate) const BUCKETS: usize = 60;

/// How many durations fell into which bucket, and their sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    sum: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], sum: Duration::ZERO }
    }
}

impl Histogram {
    /// Counts one.
    pub fn observe(&mut self, took: Duration) {
        // In 64 bits: as_nanos has 128, whose division is a function of its own.
        let below = u64::from(took.subsec_nanos().div_ceil(1_000));
        let micros = took.as_secs().saturating_mul(1_000_000).saturating_add(below);
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        let index = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get_mut(index) {
            *bucket += 1;
        }
        self.sum = self.sum.saturating_add(took);
    }

    /// Adds what another one has counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Adds counts of each bucket, of which no sum is known.
    pub(crate) fn add_counts(&mut self, counts: &[u32; BUCKETS]) {
        for (mine, more) in self.buckets.iter_mut().zip(counts) {
            *mine += u64::from(*more);
        }
    }

    /// What was counted since it was as `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut all = self.clone();
        for (mine, theirs) in all.buckets.iter_mut().zip(before.buckets) {
            *mine = mine.saturating_sub(theirs);
        }
        all.sum = all.sum.saturating_sub(before.sum);
        all
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Upper bound and count of each bucket, in rising order; the last one has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let bounds = BOUNDS.iter().map(|micros| Some(Duration::from_micros((*micros).into())));
        bounds.chain([None]).zip(self.buckets)
    }

    /// How many took longer than `bound`, a bucket's own or the next one below it.
    #[must_use]
    pub fn above(&self, bound: Duration) -> u64 {
        let micros = u32::try_from(bound.as_micros()).unwrap_or(u32::MAX);
        let first = BOUNDS.partition_point(|bound| *bound <= micros);
        self.buckets.iter().skip(first).sum()
    }

    /// The duration below which this share of all lies, such as 0.99: within its bucket by straight line. None if
    /// nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rank needs no more than 52 bits")]
        let rank = share.clamp(0.0, 1.0) * count as f64;
        let (mut below, mut lower) = (0.0, Duration::ZERO);
        for (upper, here) in self.buckets() {
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            let here = here as f64;
            if here > 0.0 && below + here >= rank {
                let Some(upper) = upper else { break };
                return Some(lower + (upper - lower).mul_f64((rank - below) / here));
            }
            below += here;
            lower = upper.unwrap_or(lower);
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_up_to_its_bound() {
        let mut histogram = Histogram::default();
        let millis = Duration::from_millis;
        for took in [millis(5), millis(5) + Duration::from_nanos(1), Duration::from_secs(90)] {
            histogram.observe(took);
        }
        let counted: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(Some(millis(5)), 1), (Some(millis(6)), 1), (None, 1)]);
        assert_eq!((histogram.count(), histogram.above(millis(5))), (3, 2));
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.99), None);
        for _ in 0..98 {
            histogram.observe(Duration::from_micros(900));
        }
        let before = histogram.clone();
        for _ in 0..2 {
            histogram.observe(Duration::from_millis(45));
        }
        let p50 = histogram.quantile(0.5).unwrap();
        assert!((Duration::from_micros(750)..=Duration::from_millis(1)).contains(&p50), "{p50:?}");
        let p99 = histogram.quantile(0.99).unwrap();
        assert!((Duration::from_millis(40)..=Duration::from_millis(50)).contains(&p99), "{p99:?}");
        let since = histogram.since(&before);
        assert_eq!((since.count(), since.sum()), (2, Duration::from_millis(90)));
    }
}
