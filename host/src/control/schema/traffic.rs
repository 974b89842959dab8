//! What the traffic was lately: the last minute, its worst routes, what takes longest now, what was done to the process.

use serde::{Deserialize, Serialize};

/// What ended lately of the whole, of a component or of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficStatus {
    /// What is counted ended in this time: up to a minute, and less at the beginning.
    pub window_ms: u64,
    /// How many.
    pub requests: u64,
    /// Those of them that a guest failed, that were answered with 5xx, or that a stop cut.
    pub errors: u64,
    /// Those in the latest second.
    pub latest: u64,
    /// Half of those that came to their end took no longer than so many microseconds.
    pub p50_us: Option<u64>,
    /// 99 of 100.
    pub p99_us: Option<u64>,
}

/// Answer to `GET /v1/traffic`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficReport {
    /// All exchanges.
    pub all: TrafficStatus,
    /// How many ended in each second of the last minute, the oldest first, and how many of them were errors.
    pub seconds: Vec<(u32, u32)>,
    /// The routes that did worst in the last minute, the worst first.
    pub routes: Vec<RouteStatus>,
    /// The exchanges in flight that have taken longest, the longest first.
    pub exchanges: Vec<ExchangeStatus>,
    /// What was done to the process, the latest last.
    pub events: Vec<EventStatus>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Its pattern.
    pub route: String,
    /// The component at its end.
    pub component: String,
    /// Its last minute.
    pub traffic: TrafficStatus,
}

/// An exchange in flight. What its client sent is not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeStatus {
    /// Its number, which the log uses too.
    pub id: u64,
    /// What its client may call it: `x-request-id` of the answer.
    pub request_id: String,
    /// The component at the end of its route, if it has taken one.
    pub component: Option<String>,
    /// The pattern of its route.
    pub route: Option<String>,
    /// The generation of its instance, once it has one.
    pub generation: Option<u64>,
    /// Since its head was read.
    pub age_ms: u64,
    /// CPU time of the guest at work.
    pub cpu_us: u64,
}

/// Something that was done to the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventStatus {
    /// Counts up from 1.
    pub number: u64,
    /// When.
    pub ago_ms: u64,
    /// `start`, `swap`, `rollback`, `reload`, `rejected`, `canary`, `drain`, `undrain` or `stop`.
    pub kind: String,
    /// The component that it was done to, if it was one.
    pub component: Option<String>,
    /// What came of it.
    pub text: String,
}

/// The last 15 minutes, for the dashboard's plots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficHistory {
    /// The time of a point.
    pub span_ms: u64,
    /// The number of the oldest point; the latest one ended with the latest whole span.
    pub first: u64,
    /// All exchanges.
    pub all: Vec<PlotPoint>,
    /// Components, those with most traffic first.
    pub components: Vec<PlotLine>,
    /// What the other components did, if there are more.
    pub other: Option<Vec<PlotPoint>>,
}

/// Requests, errors, and microseconds of p50 and p99.
pub type PlotPoint = (u32, u32, Option<u64>, Option<u64>);

/// The points of one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlotLine {
    /// The component.
    pub name: String,
    /// Its points.
    pub points: Vec<PlotPoint>,
}
