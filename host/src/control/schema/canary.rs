//! A new version that takes over step by step.

use serde::{Deserialize, Serialize};

/// How a new version takes over, in the words of the manifest; what is left out is as there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CanaryRequest {
    /// What it gets of the exchanges, `5%`; or `off`: all at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
    /// How long it takes until it gets all of them.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
    /// What takes it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_if: Option<String>,
    /// Which exchanges stay with one version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
}

/// Answer to `GET /v1/canaries`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryList {
    /// Those under way, and the last ones before them; the latest one last.
    pub canaries: Vec<CanaryStatus>,
}

/// A canary under way, or how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryStatus {
    /// The component.
    pub component: String,
    /// The generation before.
    pub from: u64,
    /// The new one.
    pub to: u64,
    /// What the new one gets of the exchanges.
    pub share: String,
    /// Which step it is, counted from 1.
    pub step: u64,
    /// How many steps there are before it gets all.
    pub steps: u64,
    /// Until then, if nothing holds it up.
    pub left_ms: u64,
    /// Why it does not take the next step although the time for that has come.
    pub waits_for: Option<String>,
    /// What has ended on the generation before since the canary began.
    pub old: CanaryTraffic,
    /// What has ended on the new one.
    pub new: CanaryTraffic,
    /// How it ended, once it has.
    pub end: Option<CanaryEndStatus>,
}

/// What has ended on one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CanaryTraffic {
    /// Requests that the guest answered or failed.
    pub requests: u64,
    /// Those that it failed, or answered with 5xx.
    pub errors: u64,
    /// The 99th percentile of how long they took; none before the first one.
    pub p99_ms: Option<f64>,
}

/// How a canary ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryEndStatus {
    /// Whether the new generation serves now.
    pub promoted: bool,
    /// The reason, in one sentence.
    pub why: String,
    /// How long ago.
    pub ago_ms: u64,
}
