//! How a connection ends.

use std::time::Duration;

use host_lifecycle::Phase;
use http::StatusCode;

use super::service::Refusal;

/// After the cut, answers of 503 and broken streams have this long to leave the process.
pub(super) const CUT_FLUSH: Duration = Duration::from_millis(500);

/// How a protocol left its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionEnd {
    /// Everything owed is written: close politely.
    Finished,
    /// hyper did not take a head, and has answered it with this status: close politely.
    AnsweredByHyper(StatusCode),
    /// A request's head has only half arrived; it is told why and closed politely.
    Refused(Refusal),
    /// An answer was broken off; nothing more can be said.
    Broken,
    /// The peer has left or is unreachable.
    Gone,
    /// Ended by force with bytes owed.
    Dropped,
    /// Another process goes on with it.
    GoesOver,
    /// The peer sends nothing but frames that bring nothing, and has been told.
    Flooded,
}

impl ConnectionEnd {
    /// What the log calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Refused(_) => "refused",
            Self::AnsweredByHyper(_) => "malformed",
            Self::Broken => "broken",
            Self::Gone => "peer-gone",
            Self::Dropped => "dropped",
            Self::GoesOver => "goes-over",
            Self::Flooded => "flooded",
        }
    }

    /// Whether the stop has ended it by force, or left bytes owed.
    pub(super) fn is_cut(self, phase: Phase) -> bool {
        match self {
            Self::Refused(why) => why == Refusal::Stopping,
            Self::Broken => phase == Phase::Cut,
            Self::Dropped => true,
            Self::Finished
            | Self::AnsweredByHyper(_)
            | Self::Gone
            | Self::GoesOver
            | Self::Flooded => false,
        }
    }
}
