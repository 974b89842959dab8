//! From what the window keeps to what goes over the control socket.

use host_lifecycle::Tracker;
use host_telemetry::{
    EventLog, History, HistoryPoint, LastMinute, LoggedEvent, RouteLabel, Window,
};

use super::convert::{micros, millis};
use crate::control::schema::{
    EventStatus, ExchangeStatus, PlotLine, PlotPoint, RouteStatus, TrafficHistory, TrafficReport,
    TrafficStatus,
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

/// The last 15 minutes, for plots.
pub(super) fn history(history: History) -> TrafficHistory {
    let line = |points: Vec<HistoryPoint>| points.into_iter().map(point).collect();
    TrafficHistory {
        span_ms: millis(HistoryPoint::SPAN),
        first: history.first,
        all: line(history.all),
        components: history
            .components
            .into_iter()
            .map(|series| PlotLine { name: series.name.into(), points: line(series.points) })
            .collect(),
        other: history.other.map(line),
    }
}

fn point(HistoryPoint { sum, p50, p99 }: HistoryPoint) -> PlotPoint {
    (sum.requests, sum.errors, p50.map(micros), p99.map(micros))
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
