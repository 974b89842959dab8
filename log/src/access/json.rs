//! A line of the access log as an object of JSON. Names are those of OpenTelemetry's semantic conventions where
//! there are such; times are seconds. What is not known is left out.

use host_telemetry::{ExchangeRecord, RequestLine, StageRecord};
use http::Version;

use super::text;
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
        name(out, "client.address");
        out.push(b'"');
        text::shown(out, client.ip());
        out.push(b'"');
        name(out, "client.port");
        text::number(out, client.port().into());
    }
    if let Some(request) = record.request {
        request_line(out, request, query);
    }
    if let Some(status) = record.status {
        name(out, "http.response.status_code");
        text::number(out, status.as_u16().into());
    }
    name(out, "http.request.body.size");
    text::number(out, record.received);
    name(out, "http.response.body.size");
    text::number(out, record.sent);
    name(out, "duration");
    text::seconds(out, record.took);
    if let Some(head) = record.head {
        name(out, "time_to_head");
        text::seconds(out, head);
    }
    if !record.stages.is_empty() {
        name(out, "queue_time");
        text::seconds(out, record.queue());
        name(out, "cpu_time");
        text::seconds(out, record.cpu());
    }
    if let Some(route) = record.route {
        string(out, "http.route", &route.pattern, NAME);
    }
    stages(out, record, start);
    if let Some(number) = record.number {
        name(out, "exchange");
        text::number(out, number);
    }
    name(out, "request_id");
    // Its own characters are fit for a string (RequestId).
    out.push(b'"');
    text::shown(out, record.request_id);
    out.push(b'"');
    name(out, "trace_id");
    out.push(b'"');
    text::hex(out, record.trace.trace, 32);
    out.push(b'"');
    name(out, "span_id");
    out.push(b'"');
    text::hex(out, record.trace.span.into(), 16);
    out.push(b'"');
    string(out, "end", record.end.name(), NAME);
    if let Some(reason) = record.end.reason() {
        string(out, "reason", reason, NAME);
    }
    out.extend_from_slice(b"}\n");
}

fn request_line(
    out: &mut Vec<u8>,
    RequestLine { method, uri, version }: &RequestLine,
    query: bool,
) {
    string(out, "http.request.method", method.as_str(), NAME);
    if let Some(scheme) = uri.scheme_str() {
        string(out, "url.scheme", scheme, NAME);
    }
    if let Some(authority) = uri.authority() {
        string(out, "server.address", authority.host(), HOST);
        if let Some(port) = authority.port_u16() {
            name(out, "server.port");
            text::number(out, port.into());
        }
    }
    string(out, "url.path", uri.path(), PATH);
    if let Some(asked) = uri.query().filter(|_| query) {
        string(out, "url.query", asked, QUERY);
    }
    string(out, "network.protocol.version", protocol(*version), NAME);
}

/// The component, and the plugins before it with how each ended.
fn stages(out: &mut Vec<u8>, record: &ExchangeRecord<'_>, start: usize) {
    if let Some(stage) = record.component_stage() {
        string(out, "component", stage.component, NAME);
        if let Some(generation) = stage.generation {
            name(out, "generation");
            text::number(out, generation);
        }
    } else if let Some(route) = record.route {
        string(out, "component", route.component, NAME);
    }
    let mut plugins = record.plugin_stages();
    let Some(first) = plugins.next() else { return };
    name(out, "plugins");
    out.push(b'[');
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
    out.extend_from_slice(b"{\"component\":\"");
    text::json(out, stage.component, NAME);
    out.push(b'"');
    if let Some(generation) = stage.generation {
        name(out, "generation");
        text::number(out, generation);
    }
    if let Some(status) = stage.status {
        name(out, "status");
        text::number(out, status.as_u16().into());
    }
    name(out, "duration");
    text::seconds(out, stage.took);
    string(out, "end", stage.end.name(), NAME);
    out.push(b'}');
}

/// `,"name":`
fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// `,"name":"text"`
fn string(out: &mut Vec<u8>, key: &str, value: &str, most: usize) {
    name(out, key);
    out.push(b'"');
    text::json(out, value, most);
    out.push(b'"');
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
