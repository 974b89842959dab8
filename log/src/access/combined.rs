//! A line of the access log as Apache's `combined`:
//! `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`.

use host_telemetry::{ExchangeRecord, RequestLine};
use http::{HeaderValue, Version};

use super::text;

/// Bytes of a method, a path, a query and a header in a line.
const METHOD: usize = 64;
const PATH: usize = 1024;
const QUERY: usize = 512;
const HEADER: usize = 512;

/// Adds a line that tells its time as `time`.
pub(super) fn write(out: &mut Vec<u8>, record: &ExchangeRecord<'_>, query: bool, time: &str) {
    match record.client {
        Some(client) => text::ip(out, client),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"] \"");
    match record.request {
        Some(request) => request_line(out, request, query),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b"\" ");
    match record.status {
        Some(status) => text::number(out, status.as_u16().into()),
        None => out.push(b'-'),
    }
    out.push(b' ');
    match record.sent {
        0 => out.push(b'-'),
        sent => text::number(out, sent),
    }
    let agent = record.agent;
    header(out, agent.and_then(|agent| agent.referer.as_ref()));
    header(out, agent.and_then(|agent| agent.user_agent.as_ref()));
    out.push(b'\n');
}

fn request_line(
    out: &mut Vec<u8>,
    RequestLine { method, uri, version }: &RequestLine,
    query: bool,
) {
    text::apache(out, method.as_str().as_bytes(), METHOD);
    out.push(b' ');
    // CONNECT names an authority in place of a path.
    let target = match (uri.path(), uri.authority()) {
        ("", Some(authority)) => authority.as_str(),
        (path, _) => path,
    };
    text::apache(out, target.as_bytes(), PATH);
    if let Some(asked) = uri.query().filter(|_| query) {
        out.push(b'?');
        text::apache(out, asked.as_bytes(), QUERY);
    }
    out.extend_from_slice(match *version {
        Version::HTTP_09 => b" HTTP/0.9",
        Version::HTTP_10 => b" HTTP/1.0",
        Version::HTTP_2 => b" HTTP/2.0",
        Version::HTTP_3 => b" HTTP/3.0",
        _ => b" HTTP/1.1",
    });
}

fn header(out: &mut Vec<u8>, value: Option<&HeaderValue>) {
    out.extend_from_slice(b" \"");
    match value {
        Some(value) => text::apache(out, value.as_bytes(), HEADER),
        None => out.push(b'-'),
    }
    out.push(b'"');
}
