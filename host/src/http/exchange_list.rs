//! The exchanges in flight, as operators see them.

use std::any::Any;
use std::time::Duration;

use host_lifecycle::{InFlight, Tracker};
use host_telemetry::RouteLabel;

use super::exchange_info::ExchangeInfo;

/// An exchange in flight at the moment of looking.
#[derive(Clone, Debug)]
pub struct ExchangeSnapshot {
    /// What the log calls it.
    pub number: u64,
    /// What its client may call it.
    pub request_id: String,
    /// The route that it has taken.
    pub route: Option<&'static RouteLabel>,
    /// The generation of its instance, once it has one.
    pub generation: Option<u64>,
    /// Since its head was read.
    pub age: Duration,
    /// CPU time of the guest at work.
    pub cpu: Duration,
}

/// Those of the exchanges in flight in `tracker` that have taken longest, the longest first, at most so many.
#[must_use]
pub fn longest(tracker: &Tracker, at_most: usize) -> Vec<ExchangeSnapshot> {
    tracker.list().iter().filter_map(snapshot).take(at_most).collect()
}

/// None for what is no exchange of ours.
fn snapshot(one: &InFlight) -> Option<ExchangeSnapshot> {
    let name: &dyn Any = &*one.name;
    let info: &ExchangeInfo = name.downcast_ref()?;
    Some(ExchangeSnapshot {
        number: one.id,
        request_id: info.request_id.to_string(),
        route: info.route(),
        generation: info.generation(),
        age: one.since.elapsed(),
        cpu: info.cpu(),
    })
}
