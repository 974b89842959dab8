//! The edge for HTTP/2: what RFC 9113 forbids, and what HTTP/1 would refuse.

use crate::edge::{TARGET, assert_unreached, listener};
use crate::support::h2raw::fields;
use crate::support::prelude::*;

/// The status of the answer to these fields, on a connection of its own.
#[track_caller]
pub fn h2_status(host: &Host, fields: &[(&str, &str)]) -> u16 {
    let mut h2 = H2::connect(host.addr());
    h2.send_fields(1, fields, true);
    h2.expect_status(1)
}

#[test]
fn h2_authority_and_host_must_agree() {
    let host = listener();
    let mut equal = fields("GET", "/");
    equal.push(("host", "test"));
    assert_eq!(h2_status(&host, &equal), 200, "the same name twice is no contradiction");
    let mut other = fields("GET", TARGET);
    other.push(("host", "other"));
    assert_eq!(h2_status(&host, &other), 400);
    let nameless = [(":method", "GET"), (":scheme", "http"), (":path", TARGET)];
    assert_eq!(h2_status(&host, &nameless), 400);
    let mut named = nameless.to_vec();
    named.extend([("host", "a"), ("host", "a")]);
    assert_eq!(h2_status(&host, &named), 400);
    assert_unreached(&host);
}

/// The fields of a `GET` to `authority` by `scheme`.
fn h2_to<'a>(scheme: &'a str, authority: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", "GET"), (":scheme", scheme), (":authority", authority), (":path", TARGET)]
}

/// Was refused: a port is left out or written out, and the scheme says which.
#[test]
fn h2_default_port_of_the_scheme_is_the_same_as_none() {
    let host = listener();
    for (scheme, authority, name, status) in [
        ("https", "a:443", "a", 200),
        ("https", "a", "a:443", 200),
        ("HTTPS", "a", "a:443", 200),
        ("http", "a:80", "a:", 200),
        ("http", "a:443", "a", 400),
        ("https", "a:80", "a", 400),
    ] {
        let mut fields = h2_to(scheme, authority);
        fields.push(("host", name));
        assert_eq!(h2_status(&host, &fields), status, "{scheme} {authority} {name}");
    }
}

#[test]
fn h2_fields_that_http1_would_refuse_are_refused() {
    let host = listener();
    for (scheme, path) in [("ftp", TARGET), ("http", &format!("{TARGET}\u{e9}")), ("http", "?x")] {
        let fields =
            [(":method", "GET"), (":scheme", scheme), (":authority", "a"), (":path", path)];
        assert_eq!(h2_status(&host, &fields), 400, "{scheme} {path}");
    }
    for authority in ["u@a", "a:+80", "[a]"] {
        assert_eq!(h2_status(&host, &h2_to("http", authority)), 400, "{authority}");
    }
    for value in [" v", "v\t"] {
        let mut fields = fields("GET", TARGET);
        fields.push(("x", value));
        assert_eq!(h2_status(&host, &fields), 400, "{value:?}");
    }
    assert_unreached(&host);
}

/// RFC 9113 §8.2.3. Guests saw each piece as a field of its own, and found one cookie of many.
#[test]
fn h2_cookies_in_pieces_reach_the_guest_as_one_field() {
    for guest in ["info_p2", "info_p3"] {
        let host = Host::serve(guest).start();
        let pieces: Vec<String> = (0..120).map(|n| format!("c{n}={n}")).collect();
        let mut fields = fields("GET", "/");
        fields.extend(pieces.iter().map(|piece| ("cookie", piece.as_str())));
        let mut h2 = H2::connect(host.addr());
        h2.send_fields(1, &fields, true);
        let answer = String::from_utf8(h2.expect_answer(1).body).unwrap();
        let cookies: Vec<_> = answer.lines().filter(|it| it.starts_with("header.cookie")).collect();
        assert_eq!(cookies, [format!("header.cookie: {}", pieces.join("; "))]);
    }
}

#[test]
fn h2_trace_and_connect_are_not_for_guests() {
    let host = listener();
    assert_eq!(h2_status(&host, &fields("TRACE", TARGET)), 405);
    assert_eq!(h2_status(&host, &[(":method", "CONNECT"), (":authority", "test:80")]), 405);
    assert_eq!(h2_status(&host, &fields("GET", "*")), 400);
    assert_unreached(&host);
}

#[test]
fn h2_connection_fields_are_refused() {
    let host = listener();
    for field in [("connection", "close"), ("transfer-encoding", "chunked"), ("te", "gzip")] {
        let mut h2 = H2::connect(host.addr());
        let mut fields = fields("GET", TARGET);
        fields.push(field);
        h2.send_fields(1, &fields, true);
        assert_eq!(h2.expect_rst(1), 1, "PROTOCOL_ERROR for {field:?}");
    }
    assert_unreached(&host);
}

#[test]
fn h2_head_over_the_limit_is_refused() {
    let host = listener();
    let value = "v".repeat(15_000);
    let mut fields = fields("GET", TARGET);
    let names = ["x-1", "x-2", "x-3"];
    fields.extend(names.map(|name| (name, value.as_str())));
    let mut h2 = H2::connect(host.addr());
    let block = crate::support::hpack::encode(&fields);
    // One frame holds 16 KiB: HEADERS without END_HEADERS, then CONTINUATIONs.
    let parts: Vec<&[u8]> = block.chunks(16_000).collect();
    for (i, part) in parts.iter().enumerate() {
        let last = if i + 1 == parts.len() { 0x4 } else { 0 };
        let (kind, flags) = if i == 0 { (1, 0x1 | last) } else { (9, last) };
        h2.send_frame(kind, flags, 1, part);
    }
    assert_eq!(h2.expect_status(1), 431);
    assert_unreached(&host);
}
