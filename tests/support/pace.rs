//! How long answers take, and that they take no longer beside others.

use std::time::{Duration, Instant};

/// How often is asked for one median.
const ASKED: usize = 50;

/// As long as this no answer is too slow, however fast it was: a busy machine is no neighbour.
const FLOOR: Duration = Duration::from_millis(250);

/// So many times as long as before is still well, above [`FLOOR`]. Who is held up by a neighbour waits
/// for as long as that one may take: thousands of times as long.
const FACTOR: u32 = 20;

/// How long an answer takes while all is well.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    median: Duration,
}

impl Pace {
    /// That of `ask`, which is called again and again.
    pub fn of(ask: impl FnMut()) -> Self {
        Self::among(timed(ask))
    }

    /// That of answers which have taken so long; at least one.
    pub fn among(times: Vec<Duration>) -> Self {
        Self { median: median(times) }
    }

    /// Fails unless `ask` now keeps this pace.
    #[track_caller]
    pub fn expect_kept(self, ask: impl FnMut()) {
        self.expect_kept_by(timed(ask));
    }

    /// Fails unless answers that have taken so long keep this pace.
    #[track_caller]
    pub fn expect_kept_by(self, times: Vec<Duration>) {
        let (count, now, most) = (times.len(), median(times), FLOOR.max(self.median * FACTOR));
        let before = self.median;
        assert!(now <= most, "the median of {count} answers is {now:?}; it was {before:?}");
    }
}

fn timed(mut ask: impl FnMut()) -> Vec<Duration> {
    let one = |_| {
        let began = Instant::now();
        ask();
        began.elapsed()
    };
    (0..ASKED).map(one).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
