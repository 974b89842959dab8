//! A new process takes over.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is asked of an upgrade. What is left out is as this process was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpgradeRequest {
    /// The program of the new process: an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<PathBuf>,
    /// The manifest or component that it serves: an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    /// How long it may take until it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
}

/// A new process has taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeReport {
    /// Its number.
    pub pid: u32,
    /// The version of its program.
    pub version: String,
    /// Idle connections that went over before this answer. Those that were busy follow.
    pub connections: u64,
    /// From the request until it had taken over.
    pub took_ms: u64,
}
