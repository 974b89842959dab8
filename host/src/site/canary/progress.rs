//! How far a canary is, as an operator sees it.

use std::sync::Arc;
use std::time::Duration;

use host_manifest::TrafficShare;
use tokio::time::Instant;

use super::judge::ComparedTraffic;

/// A canary under way, or how it ended.
#[derive(Clone, Debug)]
pub struct CanaryProgress {
    /// The component.
    pub component: Arc<str>,
    /// Number of the generation before.
    pub from: u64,
    /// Number of the new one.
    pub to: u64,
    /// What the new one gets of the exchanges.
    pub share: TrafficShare,
    /// Which step it is, counted from 1, and of how many.
    pub step: (usize, usize),
    /// Until the new generation gets all exchanges, if nothing holds it up.
    pub left: Duration,
    /// Why it does not take the next step although the time for that has come.
    pub waits_for: Option<String>,
    /// What has run on the generation before since the canary began.
    pub old: ComparedTraffic,
    /// What has run on the new one.
    pub new: ComparedTraffic,
    /// How it ended, once it has.
    pub end: Option<CanaryEnd>,
}

/// How a canary ended.
#[derive(Clone, Debug)]
pub struct CanaryEnd {
    /// Whether the new generation serves now.
    pub promoted: bool,
    /// Why.
    pub why: String,
    /// When.
    pub at: Instant,
}
