//! Clients that hold what a host has: places for connections, instances, memory. Over HTTP/2, where one connection holds a
//! hundred of them.

use std::iter;

use crate::support::flood::{Victim, post, round_trip};
use crate::support::h2frame;
use crate::support::h2raw::fields;
use crate::support::hpack;
use crate::support::memory::Peak;
use crate::support::prelude::*;
use crate::support::status::{wait_in_flight, wait_in_use, wait_json};
use crate::support::wire;

/// A thousand uploads with a byte now and then, on ten connections: they held a thousand instances.
#[test]
fn thousand_slow_uploads_over_http_2_take_no_instance() {
    let args = ["--max-instances", "1", "--max-queue", "0"];
    let host = Host::serve("echo_p2").args(args).control().start();
    let head = [fields("POST", "/"), vec![("content-length", "10")]].concat();
    let head = hpack::encode(&head);
    let mut slow: Vec<H2> = iter::repeat_with(|| H2::connect(host.addr())).take(10).collect();
    for h2 in &mut slow {
        let frames = (0..100).flat_map(|number| {
            let stream = 1 + 2 * number;
            [h2frame::bytes(1, 4, stream, &head), h2frame::bytes(0, 0, stream, b"0123")].concat()
        });
        h2.conn.send(frames.collect::<Vec<_>>()).unwrap();
    }
    wait_in_flight(&host, 1000);
    wait_in_use(&host, 0);
    for _ in 0..10 {
        let mut good = host.connect();
        good.send(wire::sized("/", 4) + "good").unwrap();
        assert_eq!(good.read_response("POST").unwrap().text(), "good");
    }
    for h2 in &mut slow {
        h2.send_data(199, b"456789", true);
        assert_eq!(h2.expect_answer(199).body, b"0123456789");
    }
    drop(slow);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

/// What a peer does not read of a hundred answers waits in the host: of each 256 KiB at most.
#[test]
fn answers_that_nobody_reads_hold_a_bounded_piece_of_memory() {
    const CONNECTIONS: u64 = 4;
    let host = Host::serve("odd_p2").control().start();
    let path = "/length?say=65536&give=65536";
    assert_eq!(host.get(path).status(), 200);
    let peak = Peak::begin(&host);
    let mut unread = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut h2 = H2::connect(host.addr());
        let head = hpack::encode(&fields("GET", path));
        let all = (0..100).flat_map(|number| h2frame::bytes(1, 5, 1 + 2 * number, &head));
        h2.conn.send(all.collect::<Vec<_>>()).unwrap();
        unread.push(h2);
        wait_json(&host, "connections", "at work", |told| {
            let all = told["connections"].as_array().expect("a list");
            let begun = all.iter().filter(|one| one["exchanges_served"] == 100);
            begun.count() == unread.len()
        });
    }
    let held = peak.grown_kib() / CONNECTIONS;
    assert!(held < 25 << 10, "{held} KiB of a connection");
    for h2 in &mut unread {
        for stream in (0..100).map(|number| 1 + 2 * number) {
            assert_eq!(h2.expect_answer(stream).body.len(), 65_536);
        }
    }
    drop(unread);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

/// A request of HTTP/2 that nobody ends does not keep others out, nor does one that is idle.
#[test]
fn idle_connections_of_http_2_make_room_and_those_at_work_do_not() {
    let host = Host::serve("gate_p2").args(["--max-connections", "3"]).start();
    let mut at_work = H2::connect(host.addr());
    at_work.send_headers(1, "POST", "/", false);
    assert_eq!(at_work.expect_status(1), 200);
    let idle = |host: &Host| {
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/", true);
        assert_eq!(h2.expect_answer(1).status, 200);
        h2
    };
    let mut idle: Vec<H2> = iter::repeat_with(|| idle(&host)).take(2).collect();
    let mut newcomers: Vec<Conn> = iter::repeat_with(|| host.connect()).take(2).collect();
    for newcomer in &mut newcomers {
        newcomer.send(wire::chunked("/") + wire::LAST_CHUNK).unwrap();
        assert_eq!(newcomer.read_response("POST").unwrap().status(), 200);
    }
    for h2 in &mut idle {
        assert_eq!(h2.expect_goaway().1, NO_ERROR);
        h2.expect_fin();
    }
    at_work.send_data(1, b"", true);
    while !at_work.expect_data(1).1 {}
}

/// Where none is idle, whoever is answered gives its place to who waits for one, over both protocols, without a loss.
#[test]
fn connections_are_told_to_leave_with_their_answer_where_others_wait_for_a_place() {
    let host = Host::serve("echo_p2").args(["--max-connections", "2"]).start();
    let mut first = host.connect();
    first.send(wire::sized("/", 10) + "01234").unwrap();
    let mut h2 = H2::connect(host.addr());
    let head = [fields("POST", "/"), vec![("content-length", "10")]].concat();
    h2.send_fields(1, &head, false);
    h2.send_data(1, b"01234", false);
    round_trip(&mut h2);
    let mut second = host.connect();
    second.send(wire::sized("/", 10) + "01234").unwrap();
    host.wait_log(says::MAKES_ROOM);
    first.send("56789".to_owned() + &wire::sized("/", 2) + "ab").unwrap();
    let [answer, next] = [(); 2].map(|()| first.read_response("POST").unwrap());
    assert!(!answer.head.says_close() && next.head.says_close(), "all that was sent is answered");
    assert_eq!((answer.text(), next.text()), ("0123456789".into(), "ab".into()));
    first.expect_fin();
    // It has the place by now.
    second.send("5678").unwrap();
    let mut third = host.connect();
    third.send(wire::sized("/", 4) + "good").unwrap();
    h2.send_data(1, b"56789", true);
    assert_eq!(h2.expect_answer(1).body, b"0123456789");
    assert_eq!(h2.expect_goaway().1, NO_ERROR);
    h2.expect_fin();
    assert_eq!(third.read_response("POST").unwrap().text(), "good");
    second.send("9").unwrap();
    assert_eq!(second.read_response("POST").unwrap().text(), "0123456789");
}

/// A neighbour is served while each instance that the other may have waits for a body that never comes.
#[test]
fn bodies_that_never_come_hold_the_instances_of_their_component_alone() {
    let victim = Victim::with("reader_p2");
    victim.withstands("bodies that never come", |host| {
        let mut all: Vec<H2> = iter::repeat_with(|| H2::connect(host.addr())).take(4).collect();
        for h2 in &mut all {
            h2.conn
                .send((0..100).flat_map(|number| post(1 + 2 * number)).collect::<Vec<_>>())
                .unwrap();
            round_trip(h2);
        }
        assert_eq!(host.get("/good").status(), 200);
        drop(all);
    });
    victim.expect_clean_stop();
}
