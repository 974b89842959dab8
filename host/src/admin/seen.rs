//! What operators see of the process, beside what the lifecycle knows.

use std::sync::Arc;

use host_keyvalue::Stores;
use host_net::NetCounts;
use host_telemetry::{EventLog, SpanCounts, Traffic};

use super::log_counts::LogCounts;

/// What operators see of the process, beside what the lifecycle knows.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Where buckets are kept.
    pub(crate) stores: Stores,
    /// Where exchanges are counted.
    pub(crate) traffic: Arc<Traffic>,
    /// Where it is noted what is done to the process.
    pub(crate) events: EventLog,
    /// What the logs have lost.
    pub(crate) logs: LogCounts,
    /// What became of spans.
    pub(crate) spans: SpanCounts,
    /// What connections add up to.
    pub(crate) connections: NetCounts,
}
