//! The span of an exchange.

use std::borrow::Cow;

use host_telemetry::{AttributeValue, ExchangeRecord, RequestLine, SpanKind, SpanRecord};
use http::Version;

/// The span of an exchange, by OpenTelemetry's conventions of HTTP. The query is left out: tokens live there.
pub(crate) fn server_span(record: &ExchangeRecord<'_>) -> SpanRecord {
    let mut attributes: Vec<(&'static str, AttributeValue)> = vec![
        ("host.end", record.end.name().into()),
        ("host.request_id", record.request_id.to_string().into()),
    ];
    let route = record.route.map(|route| &*route.pattern);
    let name = match (record.request, route) {
        (Some(line), Some(route)) => format!("{} {route}", known(line)).into(),
        (Some(line), None) => Cow::from(known(line)),
        (None, _) => "HTTP".into(),
    };
    if let Some(line) = record.request {
        attributes.push(("http.request.method", known(line).into()));
        attributes.push(("url.path", line.uri.path().to_owned().into()));
        attributes.extend(line.uri.scheme_str().map(|it| ("url.scheme", it.to_owned().into())));
        attributes.extend(line.uri.host().map(|it| ("server.address", it.to_owned().into())));
        attributes.push(("network.protocol.version", version(line.version).into()));
    }
    attributes.extend(route.map(|route| ("http.route", route.to_owned().into())));
    attributes.extend(record.client.map(|it| ("client.address", it.to_string().into())));
    let proxy = record.proxy().map(|it| it.ip().to_canonical().to_string());
    attributes.extend(proxy.map(|it| ("network.peer.address", it.into())));
    let status = record.status.map(|status| u64::from(status.as_u16()));
    attributes.extend(status.map(|status| ("http.response.status_code", status.into())));
    attributes.push(("http.request.body.size", record.received.into()));
    attributes.push(("http.response.body.size", record.sent.into()));
    let failed = record.status.is_none_or(|status| status.is_server_error())
        || record.end.is_guest_failure();
    let (context, kind) = (record.trace, SpanKind::Server);
    SpanRecord { context, kind, name, began: record.began, took: record.took, attributes, failed }
}

/// The method, where it is one of HTTP's: a client may send any word.
fn known(line: &RequestLine) -> &'static str {
    const METHODS: [&str; 9] =
        ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT"];
    METHODS.into_iter().find(|known| *known == line.method.as_str()).unwrap_or("_OTHER")
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
