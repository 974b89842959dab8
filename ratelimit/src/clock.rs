//! The clock that limits go by.

use std::time::Duration;

use governor::clock::Clock;
use tokio::time::Instant;

/// The monotonic clock of the process, or tokio's paused one in tests. A moment is the time since the clock was made.
#[derive(Clone, Copy, Debug)]
pub struct ProcessClock(Instant);

impl Default for ProcessClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for ProcessClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
