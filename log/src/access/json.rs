//! A line of the access log as an object of JSON. Names are those of OpenTelemetry's semantic conventions where
//! there are such; times are seconds. What is not known is left out.

use host_telemetry::{ExchangeRecord, RequestLine, StageRecord, span_digits, trace_digits};
use http::Version;

use super::text::{self, ours};
use crate::writer::LONGEST_LINE;

/// Bytes of a host, a path and a query in a line.
const HOST: usize = 256;
const PATH: usize = 1024;
const QUERY: usize = 512;

/// Bytes of a word that an operator has chosen: the pattern of a route, the name of a component.
const NAME: usize = 256;

/// Plugins are added to a line until it has so many bytes: what comes behind them has room in the rest.
const PLUGINS_END: usize = LONGEST_LINE - 4 * NAME;

/// Adds everything behind the time to `out`, where the line began at `start`.
pub(super) fn write(out: &mut Vec<u8>, record: &ExchangeRecord<'_>, query: bool, start: usize) {
    if let Some(client) = record.client {
        ours(out, b",\"client.address\":\"");
        text::ip(out, client);
        out.push(b'"');
    }
    if let Some(port) = record.client_port() {
        ours(out, b",\"client.port\":");
        text::number(out, port.into());
    }
    if let Some(proxy) = record.proxy() {
        ours(out, b",\"network.peer.address\":\"");
        text::ip(out, proxy.ip().to_canonical());
        ours(out, b"\",\"network.peer.port\":");
        text::number(out, proxy.port().into());
    }
    if let Some(request) = record.request {
        request_line(out, request, query);
    }
    if let Some(status) = record.status {
        ours(out, b",\"http.response.status_code\":");
        text::number(out, status.as_u16().into());
    }
    ours(out, b",\"http.request.body.size\":");
    text::number(out, record.received);
    ours(out, b",\"http.response.body.size\":");
    text::number(out, record.sent);
    ours(out, b",\"duration\":");
    text::seconds(out, record.took);
    if let Some(head) = record.head {
        ours(out, b",\"time_to_head\":");
        text::seconds(out, head);
    }
    if !record.stages.is_empty() {
        ours(out, b",\"queue_time\":");
        text::seconds(out, record.queue());
        ours(out, b",\"cpu_time\":");
        text::seconds(out, record.cpu());
    }
    if let Some(route) = record.route {
        ours(out, b",\"http.route\":\"");
        text::json(out, &route.pattern, NAME);
        out.push(b'"');
    }
    stages(out, record, start);
    ids(out, record);
    ours(out, b"\",\"end\":\"");
    out.extend_from_slice(record.end.name().as_bytes());
    if let Some(reason) = record.end.reason() {
        ours(out, b"\",\"reason\":\"");
        out.extend_from_slice(reason.as_bytes());
    }
    ours(out, b"\"}\n");
}

fn request_line(
    out: &mut Vec<u8>,
    RequestLine { method, uri, version }: &RequestLine,
    query: bool,
) {
    ours(out, b",\"http.request.method\":\"");
    text::json(out, method.as_str(), NAME);
    if let Some(scheme) = uri.scheme_str() {
        ours(out, b"\",\"url.scheme\":\"");
        text::json(out, scheme, NAME);
    }
    ours(out, b"\"");
    if let Some(authority) = uri.authority() {
        server(out, authority.as_str());
    }
    ours(out, b",\"url.path\":\"");
    text::json(out, uri.path(), PATH);
    if let Some(asked) = uri.query().filter(|_| query) {
        ours(out, b"\",\"url.query\":\"");
        text::json(out, asked, QUERY);
    }
    ours(out, b"\",\"network.protocol.version\":\"");
    out.extend_from_slice(protocol(*version).as_bytes());
    out.push(b'"');
}

/// The host that was asked for, and its port if it was said. Requests of ours have no user in it.
fn server(out: &mut Vec<u8>, authority: &str) {
    let digits = authority.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (before, port) = authority.split_at(authority.len() - digits);
    let (host, port) = match before.strip_suffix(':').zip(port.parse::<u16>().ok()) {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    ours(out, b",\"server.address\":\"");
    text::json(out, host, HOST);
    out.push(b'"');
    if let Some(port) = port {
        ours(out, b",\"server.port\":");
        text::number(out, port.into());
    }
}

/// The component, and the plugins before it with how each ended.
fn stages(out: &mut Vec<u8>, record: &ExchangeRecord<'_>, start: usize) {
    let stage = record.component_stage();
    let routed = record.route.map(|route| route.component);
    if let Some(component) = stage.map(|stage| stage.component).or(routed) {
        ours(out, b",\"component\":\"");
        text::json(out, component, NAME);
        out.push(b'"');
    }
    if let Some(generation) = stage.and_then(|stage| stage.generation) {
        ours(out, b",\"generation\":");
        text::number(out, generation);
    }
    if let Some(failed) = stage.filter(|it| it.end.is_guest_failure() && it.end != record.end) {
        ours(out, b",\"component_end\":\"");
        out.extend_from_slice(failed.end.name().as_bytes());
        out.push(b'"');
    }
    let mut plugins = record.plugin_stages();
    let Some(first) = plugins.next() else { return };
    ours(out, b",\"plugins\":[");
    plugin(out, first);
    for stage in plugins {
        if out.len() - start > PLUGINS_END {
            break;
        }
        out.push(b',');
        plugin(out, stage);
    }
    out.push(b']');
}

fn plugin(out: &mut Vec<u8>, stage: &StageRecord) {
    ours(out, b"{\"component\":\"");
    text::json(out, stage.component, NAME);
    out.push(b'"');
    if let Some(generation) = stage.generation {
        ours(out, b",\"generation\":");
        text::number(out, generation);
    }
    if let Some(status) = stage.status {
        ours(out, b",\"status\":");
        text::number(out, status.as_u16().into());
    }
    ours(out, b",\"duration\":");
    text::seconds(out, stage.took);
    ours(out, b",\"end\":\"");
    out.extend_from_slice(stage.end.name().as_bytes());
    ours(out, b"\"}");
}

/// What leads from a line to others: of the log, of a client's report, of a trace. Leaves its last string open.
fn ids(out: &mut Vec<u8>, record: &ExchangeRecord<'_>) {
    if let Some(number) = record.number {
        ours(out, b",\"exchange\":");
        text::number(out, number);
    }
    ours(out, b",\"request_id\":\"");
    // Its characters are fit for a string (RequestId).
    match record.request_id.named() {
        Some(named) => out.extend_from_slice(named),
        None => ours(out, &span_digits(record.request_id.number())),
    }
    ours(out, b"\",\"trace_id\":\"");
    ours(out, &trace_digits(record.trace.trace));
    ours(out, b"\",\"span_id\":\"");
    ours(out, &span_digits(record.trace.span));
}

/// `network.protocol.version` of OpenTelemetry.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}
