//! From what the window keeps to what goes over the control socket.

use host_lifecycle::Tracker;
use host_telemetry::{EventLog, LastMinute, LoggedEvent, RouteLabel, Window};

use super::convert::{micros, millis};
use crate::control::schema::{
    EventStatus, ExchangeStatus, RouteStatus, TrafficReport, TrafficStatus,
};
use crate::http::{self, ExchangeSnapshot};

/// Routes and exchanges of a report: more than a terminal has lines.
const LISTED: usize = 50;

pub(super) fn report(window: &Window, events: &EventLog, exchanges: &Tracker) -> TrafficReport {
    let seconds = window.seconds().into_iter().map(|second| (second.requests, second.errors));
    TrafficReport {
        all: status(window.all()),
        seconds: seconds.collect(),
        routes: window.worst_routes(LISTED).into_iter().map(route).collect(),
        exchanges: http::longest(exchanges, LISTED).into_iter().map(exchange).collect(),
        events: events.after(0).into_iter().map(event).collect(),
    }
}

pub(super) fn status(minute: LastMinute) -> TrafficStatus {
    TrafficStatus {
        window_ms: millis(minute.window),
        requests: minute.requests,
        errors: minute.errors,
        latest: minute.latest,
        p50_us: minute.p50.map(micros),
        p99_us: minute.p99.map(micros),
    }
}

fn route((label, minute): (&RouteLabel, LastMinute)) -> RouteStatus {
    RouteStatus {
        route: label.pattern.to_string(),
        component: label.component.into(),
        traffic: status(minute),
    }
}

fn exchange(one: ExchangeSnapshot) -> ExchangeStatus {
    ExchangeStatus {
        id: one.number,
        request_id: one.request_id,
        component: one.route.map(|route| route.component.into()),
        route: one.route.map(|route| route.pattern.to_string()),
        generation: one.generation,
        age_ms: millis(one.age),
        cpu_us: micros(one.cpu),
    }
}

pub(super) fn event(event: LoggedEvent) -> EventStatus {
    EventStatus {
        number: event.number,
        ago_ms: millis(event.at.elapsed()),
        kind: event.kind.name().into(),
        component: event.component,
        text: event.text,
    }
}
