//! Lines that no log has got, because their reader or the disk was too slow, or because a guest printed too much.

use host_log::{AccessLog, Stderr};

use crate::component::GuestLogs;

/// Counts them. Cloning gives another handle.
#[derive(Clone, Debug)]
pub(crate) struct LogCounts {
    access: Option<AccessLog>,
    guests: GuestLogs,
}

impl LogCounts {
    /// Of these logs, and of the host's own.
    pub(crate) fn new(access: Option<AccessLog>, guests: GuestLogs) -> Self {
        Self { access, guests }
    }

    /// How many there were, by the log that they are missing in.
    pub(crate) fn dropped(&self) -> [(&'static str, u64); 3] {
        let host = Stderr::of_process().map_or(0, Stderr::dropped);
        let access = self.access.as_ref().map_or(0, AccessLog::dropped);
        [("host", host), ("access", access), ("guest", self.guests.dropped())]
    }
}
