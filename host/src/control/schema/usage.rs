//! What components use.

use serde::{Deserialize, Serialize};

/// Answer to `GET /v1/usage`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageList {
    /// By name.
    pub components: Vec<UsageStatus>,
}

/// What one component uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageStatus {
    /// Its name.
    pub component: String,
    /// Since the start of the process.
    pub since_start: UsageFigures,
    /// In the last minute, or since the start.
    pub last_minute: UsageFigures,
}

/// What was used in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageFigures {
    /// CPU time of guests, in milliseconds.
    pub cpu_ms: u64,
    /// Linear memory of instances times seconds.
    pub memory_byte_seconds: f64,
    /// Requests, as the component at the end of a chain and as a plugin.
    pub requests: u64,
    /// Bytes of requests' bodies, of exchanges that are routed to it.
    pub received: u64,
    /// Bytes of answers' bodies, of exchanges that are routed to it.
    pub sent: u64,
    /// Requests that its guests sent.
    pub outgoing: u64,
    /// Key-value operations.
    pub keyvalue: u64,
}
