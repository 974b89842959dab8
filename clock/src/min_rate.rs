//! The time that a peer has for its bytes.

use std::time::Duration;

/// The least rate of a peer while the host waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRate {
    /// The average over a window.
    pub bytes_per_second: u64,
    /// The time over which the rate is measured.
    pub window: Duration,
    /// The time before the first window begins.
    pub grace: Duration,
}

impl MinRate {
    /// The least bytes in a window.
    #[must_use]
    pub fn of_a_window(&self) -> u64 {
        self.bytes_per_second.saturating_mul(self.window.as_secs())
    }

    /// The longest time for this many bytes of a window.
    #[must_use]
    pub fn time_for(&self, bytes: u64) -> Duration {
        let nanos = self.window.as_nanos().saturating_mul(bytes.into());
        let nanos = nanos / u128::from(self.of_a_window()).max(1);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
