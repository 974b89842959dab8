//! Limits on peers: how long, how many and how large they may be.

use std::iter;

use crate::support::prelude::*;
use crate::support::wire::{self, assert_broken};

#[test]
fn head_over_the_size_limit_is_431() {
    let host = Host::serve("hello_p2").args(["--max-header-size", "8KiB"]).start();
    let head = |size| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "v".repeat(size));
    let mut conn = host.connect();
    conn.send(head(7 << 10)).unwrap();
    assert_eq!(conn.read_response("GET").unwrap().status(), 200);
    conn.send(head(9 << 10)).unwrap();
    assert_eq!(conn.read_response("GET").unwrap().status(), 431);
    conn.expect_fin();
}

#[test]
fn head_with_more_than_the_allowed_headers_is_431() {
    let host = Host::serve("hello_p2").args(["--max-headers", "5"]).start();
    let head = |n| {
        let fields: String = (1..n).map(|i| format!("X-{i}: v\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    };
    let mut conn = host.connect();
    conn.send(head(5)).unwrap();
    assert_eq!(conn.read_response("GET").unwrap().status(), 200);
    conn.send(head(6)).unwrap();
    assert_eq!(conn.read_response("GET").unwrap().status(), 431);
    conn.expect_fin();
}

#[test]
fn h2_head_with_more_than_the_allowed_headers_is_431() {
    let host = Host::serve("hello_p2").args(["--max-headers", "5"]).start();
    let mut h2 = H2::connect(host.addr());
    let mut fields = crate::support::h2raw::fields("GET", "/");
    fields.extend(["x-1", "x-2", "x-3", "x-4", "x-5"].map(|name| (name, "v")));
    h2.send_fields(1, &fields, true);
    assert_eq!(h2.expect_status(1), 200);
    fields.push(("x-6", "v"));
    h2.send_fields(3, &fields, true);
    assert_eq!(h2.expect_status(3), 431);
}

#[test]
fn head_that_does_not_come_to_its_end_is_408() {
    let host = Host::serve("hello_p2").args(["--request-head-timeout", "300ms"]).start();
    let mut conn = host.connect();
    conn.send("GET / HTTP/1.1\r\nHo").unwrap();
    let answer = conn.read_response("GET").unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (408, "request head too slow\n"));
    assert!(answer.head.says_close(), "{answer}");
    conn.expect_fin();
}

#[test]
fn second_head_that_does_not_come_to_its_end_is_408() {
    let host = Host::serve("hello_p2").args(["--request-head-timeout", "300ms"]).start();
    let mut conn = host.connect();
    conn.send(wire::get("/") + "GET / HTT").unwrap();
    assert_eq!(conn.read_response("GET").unwrap().status(), 200);
    assert_eq!(conn.read_response("GET").unwrap().status(), 408);
    conn.expect_fin();
}

#[test]
fn silent_connection_is_closed_with_fin() {
    let host = Host::serve("hello_p2").args(["--request-head-timeout", "300ms"]).start();
    host.connect().expect_fin();
}

#[test]
fn connection_with_half_a_preface_is_closed() {
    let host = Host::serve("hello_p2").args(["--request-head-timeout", "300ms"]).start();
    let mut conn = host.connect();
    conn.send("PRI * HTTP/2.0\r\n").unwrap();
    let (bytes, _) = conn.expect_reset_or_eof();
    assert!(!bytes.starts_with(b"HTTP/1.1 2"), "{bytes:?}");
}

#[test]
fn h2_connection_without_a_request_is_closed_with_goaway_and_fin() {
    let host = Host::serve("hello_p2").args(["--request-head-timeout", "300ms"]).start();
    let mut h2 = H2::connect(host.addr());
    assert_eq!(h2.expect_goaway().1, NO_ERROR);
    h2.expect_fin();
}

#[test]
fn idle_connection_is_closed_with_fin() {
    let host = Host::serve("hello_p2").args(["--keep-alive-timeout", "300ms"]).start();
    let mut conn = host.connect();
    assert_eq!(conn.get("/").unwrap().status(), 200);
    conn.expect_fin();
}

#[test]
fn idle_h2_connection_is_closed_with_goaway_and_fin() {
    let host = Host::serve("hello_p2").args(["--keep-alive-timeout", "300ms"]).start();
    let mut h2 = H2::connect(host.addr());
    h2.get(1, "/");
    assert_eq!(h2.expect_status(1), 200);
    assert_eq!(h2.expect_goaway().1, NO_ERROR);
    h2.expect_fin();
}

#[test]
fn connection_with_an_exchange_is_not_idle() {
    let host = Host::serve("sleep_p2").args(["--keep-alive-timeout", "300ms"]).start();
    assert_eq!(host.get("/?ms=900").text(), "slept\n");
    let mut h2 = H2::connect(host.addr());
    h2.get(1, "/?ms=900");
    assert_eq!(h2.expect_answer(1).body, b"slept\n");
}

/// 500 idle kept-alive peers kept newcomers out for 75 s. Now the one that has been idle longest makes
/// room, politely: with FIN behind its last answer.
#[test]
fn connection_over_the_limit_takes_the_place_of_the_one_that_was_idle_longest() {
    let host = Host::serve("hello_p2").args(["--max-connections", "3"]).start();
    let mut kept = host.connect();
    assert_eq!(kept.get("/").unwrap().status(), 200);
    let mut h2 = H2::connect(host.addr());
    h2.get(1, "/");
    assert_eq!(h2.expect_status(1), 200);
    let mut silent = host.connect();
    // The next connection is served, and so is the one after it: three have made room.
    let mut newcomers: Vec<_> = iter::repeat_with(|| host.connect()).take(3).collect();
    for newcomer in &mut newcomers {
        assert_eq!(newcomer.get("/").unwrap().status(), 200);
    }
    kept.expect_fin();
    silent.expect_fin();
    assert_eq!(h2.expect_goaway(), (ANY_STREAM, NO_ERROR));
    assert_eq!(host.log().matches(says::MAKES_ROOM).count(), 1, "once, however many come");
}

/// No connection at work makes room. A new one waits for a moment, and is told.
#[test]
fn connection_over_the_limit_is_answered_503_when_all_others_are_at_work() {
    let host = Host::serve("gate_p2").args(["--max-connections", "2"]).start();
    let mut at_work: Vec<_> = iter::repeat_with(|| host.connect()).take(2).collect();
    for conn in &mut at_work {
        conn.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert_eq!(conn.read_head().unwrap().status, 200);
    }
    let mut newcomer = host.connect();
    let answer = newcomer.read_response("GET").unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.head.says_close() && answer.header("retry-after").is_some(), "{answer}");
    newcomer.expect_fin();
    drop(at_work);
    assert_eq!(host.get("/").status(), 200);
}

/// A host whose only instance is held by a client that reads slowly.
fn impatient(guest: &str) -> Host {
    let args = ["--max-instances", "1", "--queue-timeout", "60s", "--body-idle-timeout", "500ms"];
    Host::serve(guest).args(args).start()
}

#[test]
fn peer_that_takes_nothing_of_its_answer_is_dropped() {
    for guest in ["big_p2", "big_p3"] {
        let host = impatient(guest);
        let mut conn = host.connect();
        conn.send(wire::get("/?kib=65536")).unwrap();
        let head = conn.read_head().unwrap();
        // Served once the instance is free.
        assert_eq!(host.get("/?kib=1").text().len(), 1024);
        assert_broken(conn.read_body(&head, "GET"));
    }
}

#[test]
fn h2_stream_of_which_the_peer_takes_nothing_is_reset() {
    for guest in ["big_p2", "big_p3"] {
        let host = impatient(guest);
        let mut h2 = H2::connect_with_window(host.addr(), 10);
        h2.get(1, "/?kib=65536");
        assert_eq!(h2.expect_status(1), 200);
        assert_eq!(h2.expect_data(1), (b"0123456789".to_vec(), false));
        h2.expect_rst(1);
        // The connection goes on: another stream of it is served.
        h2.get(3, "/?kib=0");
        assert_eq!(h2.expect_status(3), 200);
    }
}

#[test]
fn peer_that_reads_slowly_but_steadily_gets_everything() {
    for guest in ["big_p2", "big_p3"] {
        let host = impatient(guest);
        let mut h2 = H2::connect_with_window(host.addr(), 1024);
        h2.get(1, "/?kib=64");
        let mut got = 0;
        let sizes = iter::from_fn(|| {
            let (bytes, last) = h2.expect_data(1);
            if !last && !bytes.is_empty() {
                h2.send_window_update(1, u32::try_from(bytes.len()).expect("a frame is short"));
            }
            got += bytes.len();
            (!last).then_some(got)
        });
        assert!(sizes.count() >= 63, "at most 1 KiB at a time");
        assert_eq!(got, 64 << 10);
    }
}
