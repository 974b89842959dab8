//! `/metrics`: what the process counts, as OpenMetrics text.
//!
//! Names and units follow OpenTelemetry's semantic conventions where there are any (`http_server_…`), Prometheus's own
//! where those are older (`process_…`), and begin with `host_` elsewhere. No client can make a label: routes,
//! components and origins are the operator's words, and all others are of fixed sets.

mod code;
mod connections;
mod page;
mod process;
mod rate_limits;
mod tls;
mod traffic;

use std::fmt;
use std::sync::Arc;

use host_telemetry::{SpanCounts, SpanFate};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use super::process::Admin;
use crate::control::{Host as _, MetricsFormat};
use page::{Page, family, number, seconds};

/// What `/metrics` answers in this format.
pub(super) fn text(admin: &Arc<Admin>, format: MetricsFormat) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics(admin.clone())));
    let mut page = String::new();
    // Nothing fails to be written into a text. If it did, Prometheus would tell of an empty page.
    let written = match format {
        MetricsFormat::OpenMetrics => text::encode(&mut page, &registry),
        MetricsFormat::Prometheus => prometheus_text::encode(&mut page, &registry),
    };
    written.map(|()| page).unwrap_or_default()
}

#[derive(Debug)]
struct Metrics(Arc<Admin>);

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (admin, mut page) = (&*self.0, Page(encoder));
        let info = family("host_build", "The host's version.");
        page.gauges(&info, |samples| {
            samples.gauge(&[("version", env!("CARGO_PKG_VERSION"))], 1.0)
        })?;
        page.gauge(&seconds("host_uptime", "Since the start."), admin.uptime().as_secs_f64())?;
        process::phase(&mut page, admin.phase(), admin.time_left().map(|left| left.as_secs_f64()))?;
        process::resources(&mut page)?;
        traffic::exchanges(&mut page, admin.traffic())?;
        let components = admin.traffic().components();
        traffic::components(&mut page, &components)?;
        code::code(&mut page, &components)?;
        traffic::memory(&mut page, &admin.usage_meter().components())?;
        process::in_flight(&mut page, admin.trackers())?;
        connections::open(&mut page, &admin.connections())?;
        let counts = admin.net_counts();
        connections::totals(&mut page, &admin.trackers().connections, counts)?;
        spans(&mut page, admin.spans())?;
        let dropped = family("host_log_lines_dropped", "Lines that are missing in a log.");
        page.counters(&dropped, |samples| {
            let logs = admin.dropped_lines();
            logs.iter()
                .try_for_each(|(log, lines)| samples.counter(&[("log", log)], number(*lines)))
        })?;
        let Some(site) = admin.site() else { return Ok(()) };
        process::apps(&mut page, &site.apps)?;
        tls::certificates(&mut page, site.certificates.as_deref())?;
        process::generations(&mut page, &site.generations)?;
        rate_limits::keys(&mut page, &site.rate_limits)?;
        let changes = family("host_changes", "Swaps, rollbacks and reloads, by how they came out.");
        page.counters(&changes, |samples| {
            site.changes.iter().try_for_each(|((outcome, step), count)| {
                samples.counter(&[("outcome", outcome), ("step", step)], number(*count))
            })
        })
    }
}

/// Writes what became of spans.
fn spans(page: &mut Page<'_>, counts: &SpanCounts) -> fmt::Result {
    let exported = family("host_spans_exported", "Spans that the collector has taken.");
    page.counters(&exported, |samples| {
        samples.counter(&[], number(counts.of(SpanFate::Exported)))
    })?;
    let dropped = family("host_spans_dropped", "Spans that the collector does not have.");
    page.counters(&dropped, |samples| {
        [SpanFate::QueueFull, SpanFate::NotTaken].into_iter().try_for_each(|fate| {
            samples.counter(&[("reason", fate.name())], number(counts.of(fate)))
        })
    })
}
