//! Seconds and slices of a window, counted from its beginning.

use std::time::Duration;

/// A slice has so many seconds: one point of a plot.
pub(super) const SLICE_SECONDS: u64 = 5;

/// Slices of a minute.
pub(super) const MINUTE_SLICES: usize = 12;

/// Slices of a plot: 15 minutes.
pub(super) const PLOT_SLICES: usize = 15 * MINUTE_SLICES;

/// A moment of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WindowTime {
    /// Whole seconds since the beginning.
    pub(super) second: u64,
}

impl WindowTime {
    /// So long after the beginning.
    pub(super) fn at(elapsed: Duration) -> Self {
        Self { second: elapsed.as_secs() }
    }

    /// The slice that it lies in.
    pub(super) fn slice(self) -> u64 {
        self.second / SLICE_SECONDS
    }

    /// What the slices of the last minute cover: up to a minute, and less at the beginning.
    pub(super) fn minute(self) -> Duration {
        let first = self.first_of_minute() * SLICE_SECONDS;
        // A second's counts came in the second before it.
        let before = first.saturating_sub(1);
        Duration::from_secs(self.second - before)
    }

    /// The first slice of the last minute.
    pub(super) fn first_of_minute(self) -> u64 {
        (self.slice() + 1).saturating_sub(MINUTE_SLICES as u64)
    }
}
