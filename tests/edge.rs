//! Requests that two servers could read in two ways are refused by the host, before the guest.
//!
//! Each case goes out with a second, good request right behind it: neither may reach the guest,
//! which would print a line of its own length.

use crate::edge_h2::h2_status;
use crate::support::h2raw::fields;
use crate::support::prelude::*;
use crate::support::wire;

/// A guest that tells of being reached: `GET /?n=1&len=N` makes a line of N times `x`.
pub fn listener() -> Host {
    Host::serve("chatty_p2").start()
}

/// What a guest would print for [`TARGET`] and for the request behind it.
const REACHED: &str = "xxxxxxx";
pub const TARGET: &str = "/?n=1&len=7";

/// Fails if any request that asked for it has reached a guest.
#[track_caller]
pub fn assert_unreached(host: &Host) {
    // Logged behind all that came before: what is not there now never happened.
    let mark = host.mark();
    assert_eq!(host.get("/?n=1&len=3").status(), 200);
    host.wait_log_after(mark, " xxx");
    assert!(!host.log().contains(REACHED), "the guest was reached");
}

/// Sends `request`, a good one behind it, and expects one answer with `status` and then FIN.
#[track_caller]
fn refuse(host: &Host, request: &str, status: u16) -> Response {
    let mut conn = host.connect();
    conn.send(request.to_owned() + &wire::get(TARGET)).unwrap();
    let answer = match conn.read_response("GET") {
        Ok(answer) => answer,
        Err(e) => panic!("no answer to {request:?}: {e}"),
    };
    assert_eq!(answer.status(), status, "{request:?}: {answer}");
    let rest = conn.read_to_end().unwrap();
    assert_eq!(rest, (Vec::new(), Ended::Fin), "behind the answer to {request:?}");
    answer
}

/// Each of `heads` is put behind a request line and refused with 400.
#[track_caller]
fn refuse_heads(method: &str, heads: &[&str]) {
    let host = listener();
    for head in heads {
        refuse(&host, &format!("{method} {TARGET} HTTP/1.1\r\n{head}\r\n"), 400);
    }
    assert_unreached(&host);
}

#[test]
fn request_without_a_host_is_refused() {
    refuse_heads("GET", &["", "X: y\r\n"]);
}

#[test]
fn request_with_two_hosts_is_refused_even_if_they_are_equal() {
    refuse_heads("GET", &["Host: a\r\nHost: b\r\n", "Host: a\r\nHost: a\r\n"]);
}

#[test]
fn request_with_an_invalid_host_is_refused() {
    refuse_heads(
        "GET",
        &[
            "Host: a b\r\n",
            "Host:\r\n",
            "Host: user@host\r\n",
            "Host: a/b\r\n",
            "Host: a:port\r\n",
            "Host: a:70000\r\n",
            "Host: a, b\r\n",
            "Host: [::1\r\n",
            "Host: \u{fc}\r\n",
        ],
    );
}

#[test]
fn transfer_codings_other_than_one_chunked_are_refused() {
    refuse_heads(
        "POST",
        &[
            "Host: a\r\nTransfer-Encoding: identity, chunked\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nTransfer-Encoding: chunked, chunked\r\n",
            "Host: a\r\nTransfer-Encoding: gzip\r\n",
            "Host: a\r\nTransfer-Encoding: xchunked\r\n",
            "Host: a\r\nTransfer-Encoding: chunked, identity\r\n",
        ],
    );
}

/// RFC 9112 §6.3: the next hop may have gone by the length, so a server may refuse it.
#[test]
fn length_beside_a_transfer_coding_is_refused() {
    refuse_heads(
        "POST",
        &[
            "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n",
            "Host: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        ],
    );
}

#[test]
fn lengths_that_are_not_one_number_are_refused() {
    refuse_heads(
        "POST",
        &[
            "Host: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n",
            "Host: a\r\nContent-Length: +4\r\n",
            "Host: a\r\nContent-Length: -4\r\n",
            "Host: a\r\nContent-Length: 0x4\r\n",
            "Host: a\r\nContent-Length: 4, 5\r\n",
            "Host: a\r\nContent-Length:\r\n",
            "Host: a\r\nContent-Length: 99999999999999999999999\r\n",
        ],
    );
}

#[test]
fn field_lines_that_others_read_differently_are_refused() {
    refuse_heads(
        "GET",
        &[
            "Host: a\r\nX: one\r\n two\r\n",
            "Host : a\r\n",
            "Host: a\r\nX : y\r\n",
            " Host: a\r\n",
            "Host: a\r\nno colon\r\n",
            "Host: a\r\nX: a\rb\r\n",
            "Host: a\r\nX: a\n",
            "Host: a\nX: y\r\n",
            "Host: a\r\nX:\n\n",
            "Host: a\r\nX: a\0b\r\n",
        ],
    );
}

#[test]
fn absolute_target_must_agree_with_the_host() {
    let host = listener();
    for target in ["http://b", "http://a:81", "http://user@a", "ftp://a"] {
        refuse(&host, &format!("GET {target}{TARGET} HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    }
    assert_unreached(&host);
}

/// Not refused any more: an absolute URI may leave out its path, a port may be empty, schemes have no
/// case, and other methods than the usual are for the guest to know.
#[test]
fn what_is_legal_though_unusual_reaches_the_guest() {
    let host = Host::serve("info_p2").start();
    for (line, field, seen) in [
        ("GET http://a?x=1", "a", "authority: a\npath: /?x=1\n"),
        ("GET HTTP://a:80/x", "a", "authority: a\npath: /x\n"),
        ("GET https://a/x", "a:443", "authority: a:443\npath: /x\n"),
        ("GET /x", "a:", "authority: a\npath: /x\n"),
        ("PURGE /x", "a", "method: PURGE\n"),
        ("QUERY /x", "a", "method: QUERY\n"),
    ] {
        let mut conn = host.connect();
        conn.send(format!("{line} HTTP/1.1\r\nHost: {field}\r\n\r\n")).unwrap();
        let answer = conn.read_response("GET").unwrap();
        assert!(answer.text().contains(seen), "{line} to {field}: {answer}");
    }
}

#[test]
fn targets_that_are_no_uri_are_refused() {
    let host = listener();
    for target in [
        &format!("{TARGET}#a"),
        "/#",
        "http://a/#b",
        &format!("{TARGET}\u{e9}"),
        &format!("/\u{e9}{TARGET}"),
        "a",
        "a:80",
        "/<",
        "//`",
    ] {
        refuse(&host, &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    }
    for field in ["a:+80", "[a]", "a::", ":80", "%61"] {
        refuse(&host, &format!("GET {TARGET} HTTP/1.1\r\nHost: {field}\r\n\r\n"), 400);
    }
    assert_unreached(&host);
}

#[test]
fn request_lines_that_are_none_are_refused() {
    let host = listener();
    for line in [
        format!("GET {TARGET} HTTP/1.2"),
        format!("GET {TARGET} HTTP/2.0"),
        format!("GET {TARGET}"),
        format!("GET  {TARGET} HTTP/1.1"),
        format!("G(T {TARGET} HTTP/1.1"),
        "GET ?n=1&len=7 HTTP/1.1".to_owned(),
        "GET * HTTP/1.1".to_owned(),
    ] {
        refuse(&host, &format!("{line}\r\nHost: a\r\n\r\n"), 400);
    }
    assert_unreached(&host);
}

#[test]
fn connect_and_trace_are_not_for_guests() {
    let host = listener();
    for request in [
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned(),
        format!("TRACE {TARGET} HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        let answer = refuse(&host, &request, 405);
        assert!(answer.header("allow").is_some_and(|methods| methods.contains("GET")), "{answer}");
        assert!(answer.head.says_close(), "{answer}");
    }
    assert_unreached(&host);
}

#[test]
fn options_of_the_whole_server_are_answered_by_the_host() {
    let host = listener();
    let mut conn = host.connect();
    conn.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let answer = conn.read_response("OPTIONS").unwrap();
    assert_eq!(answer.status(), 204);
    assert!(answer.header("allow").is_some_and(|methods| methods.contains("OPTIONS")));
    assert_eq!(conn.get("/").unwrap().status(), 200, "the connection goes on");
    assert_eq!(host.log().matches("stream=\"stdout\"").count(), 0, "no guest ran");
}

#[test]
fn malformed_chunks_break_the_exchange_and_the_connection() {
    let host = Host::serve("reader_p2").start();
    for chunk in [
        "2;\r\nab\r\n",
        "2 \r\nab\r\n",
        "2;a=\"b\r\nab\r\n",
        "2\nab\r\n",
        "0x3\r\nabc\r\n",
        "g\r\n",
        "+3\r\nabc\r\n",
        "11111111111111111\r\n",
        "3\r\nabcd",
    ] {
        let mut conn = host.connect();
        let bytes = wire::chunked("/count") + chunk + wire::LAST_CHUNK + &wire::get("/");
        conn.send(bytes).unwrap();
        let (bytes, _) = conn.expect_reset_or_eof();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("200 OK"), "{chunk:?} was taken for a body: {text:?}");
    }
    assert_eq!(host.get("/").text(), "ignored\n");
}

#[test]
fn heads_over_the_limits_are_refused() {
    let host = listener();
    let long = format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "v".repeat(40 << 10));
    refuse(&host, &long, 431);
    let many: String = (0..101).map(|i| format!("X-{i}: v\r\n")).collect();
    refuse(&host, &format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431);
    assert_unreached(&host);
}

#[test]
fn too_long_a_target_is_refused() {
    let host = listener();
    let mut conn = host.connect();
    conn.send(wire::get(&format!("{TARGET}&{}", "v".repeat(70 << 10)))).unwrap();
    let status = conn.read_response("GET").unwrap().status();
    assert!(matches!(status, 414 | 431), "{status}");
    conn.expect_fin();
    assert_unreached(&host);
}

#[test]
fn old_request_without_a_host_is_served() {
    for guest in ["info_p2", "info_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send("GET /old HTTP/1.0\r\n\r\n").unwrap();
        let answer = conn.read_response("GET").unwrap();
        assert_eq!(answer.status(), 200, "{answer}");
        assert!(answer.text().contains("path: /old\n"), "{answer}");
        conn.expect_fin();
    }
}

#[test]
fn transfer_coding_of_an_old_request_is_refused() {
    let host = listener();
    let head = format!("POST {TARGET} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    refuse(&host, &(head + wire::LAST_CHUNK), 400);
    assert_unreached(&host);
}

/// Behind a plugin, whose texts are bounded, they made it fail: a client could have one put aside, or
/// left out of its way.
#[test]
fn methods_and_hosts_longer_than_any_that_there_are_are_refused() {
    let host = listener();
    let (method, name) = ("A".repeat(33), format!("{}:65535", "a".repeat(256)));
    refuse(&host, &format!("{method} {TARGET} HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    refuse(&host, &format!("GET {TARGET} HTTP/1.1\r\nHost: {name}\r\n\r\n"), 400);
    refuse(&host, &format!("GET http://{name}{TARGET} HTTP/1.1\r\nHost: {name}\r\n\r\n"), 400);
    assert_eq!(h2_status(&host, &fields(&method, TARGET)), 501);
    let mut long = fields("GET", TARGET);
    long.iter_mut().filter(|(name, _)| *name == ":authority").for_each(|it| it.1 = &name);
    assert_eq!(h2_status(&host, &long), 400);
    assert_unreached(&host);
}
