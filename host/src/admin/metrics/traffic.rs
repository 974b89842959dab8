//! Exchanges and stages.

use std::collections::BTreeMap;
use std::fmt;

use host_telemetry::{
    CallCounts, ComponentTotals, End, RouteLabel, Series, SeriesKey, Traffic, TrafficTotals,
    UsageTotals, UsedLately,
};

use super::page::{Family, Label, Page, bytes, family, number, seconds};

/// Writes what all exchanges add up to.
pub(super) fn exchanges(page: &mut Page<'_>, traffic: &Traffic) -> fmt::Result {
    let totals = traffic.totals();
    let routes = traffic.routes();
    page.counters(
        &family(
            "host_requests_accepted",
            "Requests that came, with those that the host itself answered.",
        ),
        |samples| samples.counter(&[], number(totals.accepted)),
    )?;
    page.gauge(
        &family("http_server_active_requests", "Exchanges in flight."),
        number(totals.in_flight()),
    )?;
    let labels = Labels { routes: &routes };
    by_exchange(page, &totals, labels)?;
    by_route(page, &totals, labels)?;
    refusals(page, &totals)
}

/// Names of routes.
#[derive(Clone, Copy)]
struct Labels<'a> {
    routes: &'a [&'static RouteLabel],
}

impl Labels<'_> {
    /// Component and pattern of a route; empty where none was taken.
    fn route(&self, route: Option<u32>) -> (&'static str, &'static str) {
        let label = route.and_then(|id| self.routes.get(id as usize));
        label.map_or(("", ""), |label| (label.component, &*label.pattern))
    }
}

fn by_exchange(page: &mut Page<'_>, totals: &TrafficTotals, labels: Labels<'_>) -> fmt::Result {
    let ended = family("host_exchanges", "Exchanges that have ended, by how they did.");
    page.counters(&ended, |samples| {
        for (key, series) in &totals.series {
            let status = key.status.name();
            let (component, route) = labels.route(key.route);
            samples.counter(
                &[
                    ("host_component", component),
                    ("http_route", route),
                    ("http_request_method", key.method.name()),
                    ("http_response_status_code", &status),
                    ("network_protocol_version", key.protocol.name()),
                    ("ended", key.end.name()),
                    ("reason", key.end.reason().unwrap_or_default()),
                ],
                number(series.took.count()),
            )?;
        }
        Ok(())
    })?;
    // Of one route, method and status, however they ended.
    let mut durations: BTreeMap<SeriesKey, Series> = BTreeMap::new();
    for (key, series) in &totals.series {
        durations.entry(SeriesKey { end: End::Finished, ..*key }).or_default().add(series);
    }
    let took = seconds(
        "http_server_request_duration",
        "From the head of the request to the last frame of the answer.",
    );
    page.histograms(&took, |samples| {
        for (key, series) in &durations {
            let status = key.status.name();
            let (component, route) = labels.route(key.route);
            samples.histogram(
                &[
                    ("host_component", component),
                    ("http_route", route),
                    ("http_request_method", key.method.name()),
                    ("http_response_status_code", &status),
                    ("network_protocol_version", key.protocol.name()),
                ],
                &series.took,
            )?;
        }
        Ok(())
    })
}

fn by_route(page: &mut Page<'_>, totals: &TrafficTotals, labels: Labels<'_>) -> fmt::Result {
    let mut routes: BTreeMap<Option<u32>, Series> = BTreeMap::new();
    for (key, series) in &totals.series {
        routes.entry(key.route).or_default().add(series);
    }
    let head =
        seconds("host_time_to_head", "From the head of the request to the head of the answer.");
    page.histograms(&head, |samples| {
        for (route, series) in &routes {
            let (component, route) = labels.route(*route);
            samples
                .histogram(&[("host_component", component), ("http_route", route)], &series.head)?;
        }
        Ok(())
    })?;
    type Sum = fn(&Series) -> u64;
    let sums: [(Family, Sum); 2] = [
        (bytes("host_received", "Bytes of requests' bodies."), |series| series.received),
        (bytes("host_sent", "Bytes of answers' bodies."), |series| series.sent),
    ];
    for (family, sum) in &sums {
        page.counters(family, |samples| {
            for (route, series) in &routes {
                let (component, route) = labels.route(*route);
                let labels = [("host_component", component), ("http_route", route)];
                samples.counter(&labels, number(sum(series)))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn refusals(page: &mut Page<'_>, totals: &TrafficTotals) -> fmt::Result {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (key, series) in &totals.series {
        if let Some(reason) = key.end.reason() {
            *reasons.entry(reason).or_default() += series.took.count();
        }
    }
    let refused = family("host_refusals", "Requests that the host did not serve, by the reason.");
    page.counters(&refused, |samples| {
        reasons
            .iter()
            .try_for_each(|(reason, count)| samples.counter(&[("reason", reason)], number(*count)))
    })
}

/// Writes what each component's stages and guests add up to.
pub(super) fn components(page: &mut Page<'_>, all: &[ComponentTotals]) -> fmt::Result {
    let stages =
        family("host_stages", "Parts of components in exchanges that have ended, by how they did.");
    page.counters(&stages, |samples| {
        for ComponentTotals { name, stages, .. } in all {
            let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
            stages.ends().for_each(|(end, count)| *ends.entry(end.name()).or_default() += count);
            for (ended, count) in ends {
                samples.counter(&[("host_component", name), ("ended", ended)], number(count))?;
            }
        }
        Ok(())
    })?;
    let failures = family(
        "host_errors",
        "Parts of components that the component failed, or answered with 5xx.",
    );
    page.counters(&failures, |samples| {
        all.iter().try_for_each(|it| {
            samples.counter(&[("host_component", it.name)], number(it.stages.errors))
        })
    })?;
    let took = seconds(
        "host_stage_duration",
        "From having the request to the end, of parts that ended well.",
    );
    page.histograms(&took, |samples| {
        all.iter()
            .try_for_each(|it| samples.histogram(&[("host_component", it.name)], &it.stages.took))
    })?;
    let queue = seconds("host_queue_wait", "Waits for an instance.");
    page.histograms(&queue, |samples| {
        all.iter()
            .try_for_each(|it| samples.histogram(&[("host_component", it.name)], &it.stages.queue))
    })?;
    usage(page, all)
}

/// Writes the memory that components have had, over time.
pub(super) fn memory(page: &mut Page<'_>, all: &[(&'static str, UsedLately)]) -> fmt::Result {
    let area = family(
        "host_memory_byte_seconds",
        "Linear memory of instances, times seconds, read every five.",
    );
    page.counters(&area, |samples| {
        all.iter().try_for_each(|(name, used)| {
            samples.counter(&[("host_component", name)], used.since_start.memory)
        })
    })
}

fn usage(page: &mut Page<'_>, all: &[ComponentTotals]) -> fmt::Result {
    let cpu = seconds("host_cpu", "CPU time of guests.");
    page.counters(&cpu, |samples| {
        all.iter().try_for_each(|it| {
            samples.counter(&[("host_component", it.name)], it.usage.cpu.as_secs_f64())
        })
    })?;
    let started = family("host_instances_started", "Instances that were started.");
    page.counters(&started, |samples| {
        all.iter().try_for_each(|it| {
            samples.counter(&[("host_component", it.name)], number(it.usage.started))
        })
    })?;
    let starts = seconds(
        "host_instance_start",
        "What the start of an instance took, of one start in sixteen.",
    );
    page.histograms(&starts, |samples| {
        all.iter()
            .try_for_each(|it| samples.histogram(&[("host_component", it.name)], &it.usage.starts))
    })?;
    let outgoing = family(
        "host_outgoing_requests",
        "Requests that guests sent, by the entry of grants.outgoing.",
    );
    calls(page, &outgoing, all, "origin", |usage| {
        usage.outgoing.iter().map(|(origin, counts)| (&**origin, *counts)).collect()
    })?;
    let keyvalue = family("host_keyvalue_operations", "Operations on key-value buckets.");
    calls(page, &keyvalue, all, "operation", |usage| {
        usage.keyvalue.iter().map(|(operation, counts)| (*operation, *counts)).collect()
    })
}

fn calls(
    page: &mut Page<'_>,
    family: &Family,
    all: &[ComponentTotals],
    label: &'static str,
    of: impl Fn(&UsageTotals) -> Vec<(&str, CallCounts)>,
) -> fmt::Result {
    page.counters(family, |samples| {
        for ComponentTotals { name, usage, .. } in all {
            for (kind, CallCounts { done, failed }) in of(usage) {
                for (outcome, count) in [("ok", done.saturating_sub(failed)), ("failed", failed)] {
                    let labels: [Label<'_>; 3] =
                        [("host_component", name), (label, kind), ("outcome", outcome)];
                    samples.counter(&labels, number(count))?;
                }
            }
        }
        Ok(())
    })
}
