//! What a hostile guest puts into its answers, seen as bytes: it never becomes framing, headers or
//! answers of another's.

use crate::support::h2frame::ENHANCE_YOUR_CALM;
use crate::support::prelude::*;
use crate::support::wire;

/// The bytes of all answers to these requests, on one connection that ends after the last.
#[track_caller]
fn raw(host: &Host, paths: &[&str]) -> String {
    let mut conn = host.connect();
    let (last, before) = paths.split_last().expect("a request");
    let mut requests: String = before.iter().map(|path| wire::get(path)).collect();
    requests += &format!("GET {last} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    conn.send(requests).unwrap();
    let (bytes, _) = conn.expect_reset_or_eof();
    String::from_utf8(bytes).expect("answers of these guests are text")
}

/// Where lines end, they end by CR LF; and no other control character is in a head.
#[track_caller]
fn expect_clean(head: &str) {
    for line in head.split("\r\n") {
        assert!(!line.contains(char::is_control), "{line:?} in {head:?}");
    }
}

/// Head and body of the only answer in `bytes`.
#[track_caller]
fn only(bytes: &str) -> (&str, &str) {
    let (head, body) = bytes.split_once("\r\n\r\n").expect("a whole head");
    expect_clean(head);
    assert_eq!(head.matches("HTTP/1.1 ").count(), 1, "{bytes:?}");
    (head, body)
}

const GUESTS: [&str; 2] = ["hostile_p2", "hostile_p3"];

#[test]
fn line_breaks_in_what_a_guest_sets_are_refused_and_not_sent() {
    for guest in GUESTS {
        let host = Host::serve(guest).start();
        let bytes = raw(&host, &["/inject"]);
        let (head, told) = only(&bytes);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head:?}");
        for evil in ["evil", "injected", "x-a", "x-b", "x-c"] {
            assert!(!head.contains(evil), "{evil} in {head:?}");
        }
        let mut taken: Vec<_> = told.lines().filter(|line| line.ends_with(": taken")).collect();
        // Both are the guest's own affair: the host refuses the one when it is sent, the other is a
        // number, which those of 0.3 cannot set.
        taken.retain(|line| guest == "hostile_p3" || *line != "status 600: taken");
        assert_eq!(taken, ["authority \"user@a\": taken"], "{guest}");
        assert_eq!(told.lines().count(), 38, "{told}");
    }
}

#[test]
fn headers_of_the_connection_are_not_the_guests_to_set() {
    for guest in ["hostile_p2", "hostile_p3", "odd_p2"] {
        let path = "/forbidden";
        let host = Host::serve(guest).start();
        let bytes = raw(&host, &[path, path]);
        let (first, second) =
            bytes.split_once("HTTP/1.1 200 OK\r\n").map_or(("", ""), |(_, rest)| {
                rest.split_once("HTTP/1.1 200 OK\r\n").expect("two answers")
            });
        for answer in [first, second] {
            let (head, _) = answer.split_once("\r\n\r\n").expect("a whole head");
            expect_clean(head);
            let names: Vec<_> = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(name, _)| name)
                .collect();
            for name in [
                "transfer-encoding",
                "keep-alive",
                "upgrade",
                "host",
                "proxy-connection",
                "proxy-authenticate",
                "proxy-authorization",
                "te",
                "http2-settings",
            ] {
                assert!(!names.contains(&name), "{guest}: {name} in {head:?}");
            }
            let lengths = names.iter().filter(|name| **name == "content-length").count();
            assert_eq!(lengths, 1, "{head:?}");
        }
        let says_close = |answer: &str| {
            let head = answer.split("\r\n\r\n").next().unwrap_or_default();
            head.to_ascii_lowercase().lines().any(|line| line == "connection: close")
        };
        assert!(!says_close(first), "{first:?}");
        assert!(says_close(second), "the host's own: {second:?}");
    }
}

#[test]
fn headers_of_the_connection_are_not_sent_over_http_2_either() {
    for guest in GUESTS {
        expect_clean_over_http_2(&Host::serve(guest).start());
    }
}

fn expect_clean_over_http_2(host: &Host) {
    let mut h2 = H2::connect(host.addr());
    for (stream, path) in [(1, "/forbidden"), (3, "/inject")] {
        h2.get(stream, path);
        let answer = h2.expect_answer(stream);
        assert_eq!(answer.status, 200);
        let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
        let mut own = names.clone();
        own.retain(|name| !["content-length", "content-type", "date"].contains(name));
        assert_eq!(own, [""; 0], "{path}: {names:?}");
        let clean = |value: &str| !value.contains(char::is_control);
        assert!(answer.headers.iter().all(|(_, value)| clean(value)), "{answer:?}");
    }
}

#[test]
fn length_that_lies_never_moves_the_border_between_two_answers() {
    let host = Host::serve("odd_p2").start();
    for path in [
        "/length?say=5&give=10",
        "/length?say=10&give=5",
        "/length?say=0&give=5",
        "/length?say=-1&give=5",
        "/length?say=5,5&give=5",
        "/length?say=0x5&give=5",
        "/length?say=99999999999999999999999&give=5",
        "/dup",
    ] {
        let mut conn = host.connect();
        conn.send(wire::get(path) + &wire::get("/status?code=404")).unwrap();
        match conn.read_response("GET") {
            // `only x` of one length, or what the host says instead.
            Ok(first) => {
                assert!([200, 500].contains(&first.status()), "{path}: {first}");
                let second = conn.read_response("GET").expect("the connection goes on");
                assert_eq!(second.status(), 404, "{path}: {second}");
            }
            broken => wire::assert_broken(broken),
        }
        let (rest, _) = {
            conn.half_close();
            conn.expect_reset_or_eof()
        };
        assert_eq!(String::from_utf8_lossy(&rest), "", "{path}: nothing is left over");
    }
}

#[test]
fn answers_without_a_body_have_none_on_the_wire() {
    let host = Host::serve("odd_p2").start();
    for code in [204, 304] {
        let bytes = raw(&host, &[&format!("/status?code={code}")]);
        let (head, body) = only(&bytes);
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{head:?}");
        assert_eq!(body, "");
        assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head:?}");
    }
    let bytes = raw(&host, &["/nobody"]);
    assert_eq!(only(&bytes).1, "");
}

#[test]
fn trailers_of_a_guest_end_where_the_answer_ends() {
    let host = Host::serve("hostile_p3").start();
    let mut conn = host.connect();
    let te = "GET /trailers?kib=1024 HTTP/1.1\r\nHost: t\r\nTE: trailers\r\n\r\n";
    conn.send(te.to_owned() + &wire::get("/")).unwrap();
    match conn.read_response("GET") {
        Ok(answer) => {
            assert_eq!(answer.text(), "and then\n");
            assert_eq!(answer.body.trailers, [], "its head has announced none");
            let second = conn.read_response("GET").expect("the connection goes on");
            assert_eq!(second.text(), "hostile, but not to this path\n");
        }
        broken => wire::assert_broken(broken),
    }
}

/// What a guest may put into one set of fields, in bytes.
const FIELDS: usize = 128 << 10;

/// Over HTTP/2 nothing has to be announced.
#[test]
fn trailers_of_a_guest_are_no_larger_than_its_headers_may_be() {
    let host = Host::serve("hostile_p3").start();
    for (kib, least) in [(2, 2 << 10), (1024, FIELDS / 2)] {
        let mut h2 = H2::connect(host.addr());
        h2.get(1, &format!("/trailers?kib={kib}"));
        assert_eq!(h2.expect_data(1).0, b"and then\n");
        let trailers = h2.wait("trailers", |frame| match frame {
            Frame::Headers { stream: 1, status: None, headers, end_stream: true } => {
                Some(headers.clone())
            }
            _ => None,
        });
        let bytes: usize = trailers.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!((least..=FIELDS).contains(&bytes), "{bytes} bytes of {kib} KiB");
    }
}

/// 750,000 of them went through on one connection (RFC 9113 §10.5).
#[test]
fn frames_that_bring_no_request_are_answered_with_goaway_enhance_your_calm() {
    const AT_MOST: usize = 10_000;
    let host = Host::serve("hello_p2").start();
    for (kind, payload) in [(2, &[0; 5][..]), (4, &[]), (0x42, b"x")] {
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/");
        assert_eq!(h2.expect_status(1), 200);
        for _ in 0..AT_MOST {
            // PRIORITY is for a stream, SETTINGS for the connection.
            h2.send_frame(kind, 0, if kind == 2 { 1 } else { 0 }, payload);
        }
        assert_eq!(h2.expect_goaway(), (1, ENHANCE_YOUR_CALM), "of kind {kind}");
        h2.expect_fin();
    }
    assert_eq!(host.get("/").status(), 200);
}
