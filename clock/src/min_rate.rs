//! How much time a peer has for its bytes.

use std::time::Duration;

/// The slowest that a peer may be, while it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRate {
    /// On average over a window.
    pub bytes_per_second: u64,
    /// Over which it is measured.
    pub window: Duration,
    /// Before the first window begins.
    pub grace: Duration,
}

impl MinRate {
    /// Bytes that a window must have.
    #[must_use]
    pub fn of_a_window(&self) -> u64 {
        self.bytes_per_second.saturating_mul(self.window.as_secs())
    }

    /// How long so many bytes of a window may take.
    #[must_use]
    pub fn time_for(&self, bytes: u64) -> Duration {
        let nanos = self.window.as_nanos().saturating_mul(bytes.into());
        let nanos = nanos / u128::from(self.of_a_window()).max(1);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
