//! What a stop did.

use std::fmt;
use std::time::Duration;

use super::command::Cause;
use super::words::{Seconds, counted};

/// What a stop did: the numbers of its last line.
#[derive(Clone, Copy, Debug)]
pub struct StopReport {
    /// From the first signal to the end.
    pub took: Duration,
    /// Exchanges that finished since the stop began.
    pub finished: u64,
    /// Exchanges, and instances at work after their answer or reused, that were cut.
    pub cut: u64,
    /// Connections that were closed by force while bytes were owed on them. A door that is still open
    /// counts as one: its queue is reset, and nobody has said how long that is.
    pub dropped: u64,
    /// Who cut the stop short, if somebody did.
    pub cut_short_by: Option<Cause>,
    /// The stop was not asked for: something had failed.
    pub failed: bool,
}

impl fmt::Display for StopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stopped in {}: {} finished, {} cut, {} dropped",
            Seconds(self.took),
            counted(self.finished, "exchange"),
            self.cut,
            counted(self.dropped, "connection"),
        )
    }
}
