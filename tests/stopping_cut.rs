//! The drain timeout: what it cuts, what a client is told of that, and how it is counted.

use std::thread;

use crate::stopping::get;
use crate::support::prelude::*;
use crate::support::stop::{Held, POST_HEAD, StopSummary, connections, expect_cut, wait_accepted};
use crate::support::wire::{self, assert_broken};

/// A drain timeout that is soon over. What it ends lasts longer than a test.
const SOON: [&str; 2] = ["--drain-timeout", "1s"];

/// Expects an end at the drain timeout, and not before.
#[track_caller]
fn expect_cut_in_time(host: Host, code: i32) -> Exit {
    let exit = host.wait_exit();
    exit.expect_code(code);
    let took = StopSummary::read(&exit).took;
    assert!(took >= 1.0, "{took} s");
    exit
}

/// W19, its other end: a guest that sleeps, and one that never yields.
#[test]
fn work_after_the_answer_is_cut_at_the_drain_timeout_and_counted() {
    for guest in ["after_p2", "after_p3"] {
        for path in ["/forever", "/spin"] {
            let host = Host::serve(guest).args(SOON).start();
            assert_eq!(host.get(path).text(), "answered\n");
            host.signal(Signal::TERM);
            let exit = expect_cut_in_time(host, 1);
            let StopSummary { finished, cut, .. } = StopSummary::read(&exit);
            assert_eq!((finished, cut), (0, 1), "{guest} {path}: the answer was before the stop");
            let named = exit.stderr.lines().find(|line| line.contains(says::SURVIVOR));
            assert!(named.is_some_and(|line| line.contains(path)), "{named:?}");
        }
    }
}

#[test]
fn slow_upload_does_not_hold_the_stop_and_is_told_503() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).everywhere().args(SOON).start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            conn.send(format!("{POST_HEAD}1\r\nx\r\n")).unwrap();
        }
        host.wait_log_nth(says::GATE_STARTED, 2);
        host.signal(Signal::TERM);
        for conn in &mut conns {
            expect_cut(conn);
        }
        drop(conns);
        expect_cut_in_time(host, 1).expect_last_line("s: 0 exchanges finished, 3 cut, ");
    }
}

#[test]
fn slow_reader_does_not_hold_the_stop_and_gets_no_whole_answer() {
    for guest in ["big_p2", "big_p3"] {
        let host = Host::serve(guest).everywhere().args(SOON).start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            get(conn, "/?kib=65536");
        }
        let heads: Vec<Head> = conns.iter_mut().map(|conn| conn.read_head().unwrap()).collect();
        host.signal(Signal::TERM);
        expect_cut_in_time(host, 1);
        for (conn, head) in conns.iter_mut().zip(heads) {
            assert_broken(conn.read_body(&head, "GET"));
        }
    }
}

#[test]
fn http2_peer_that_opens_no_window_does_not_hold_the_stop_and_gets_no_whole_answer() {
    for guest in ["big_p2", "big_p3"] {
        let host = Host::serve(guest).args(SOON).start();
        let mut h2 = H2::connect_with_window(host.addr(), 100);
        h2.get(1, "/?kib=65536");
        assert_eq!(h2.expect_status(1), 200);
        host.signal(Signal::TERM);
        expect_cut_in_time(host, 1);
        loop {
            match h2.read_frame() {
                Ok(Frame::Data { stream: 1, end_stream: true, .. }) => panic!("it looks whole"),
                Ok(_) => {}
                Err(Broken::Fin(_) | Broken::Reset) => break,
                Err(e) => panic!("an end was due: {e}"),
            }
        }
    }
}

#[test]
fn endless_answer_does_not_hold_the_stop_and_ends_without_its_last_chunk() {
    for guest in ["drip_p2", "drip_p3"] {
        let host = Host::serve(guest).everywhere().args(SOON).start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            get(conn, "/?n=1000000&ms=20");
        }
        let heads: Vec<Head> = conns.iter_mut().map(|conn| conn.read_head().unwrap()).collect();
        host.signal(Signal::TERM);
        for (conn, head) in conns.iter_mut().zip(heads) {
            assert_broken(conn.read_body(&head, "GET"));
        }
        let exit = expect_cut_in_time(host, 1);
        assert_eq!(StopSummary::read(&exit).cut, 3);
    }
}

/// Only the close ends such an answer, so a FIN would make it whole.
#[test]
fn endless_http_1_0_answer_that_is_cut_ends_with_a_reset() {
    let host = Host::serve("drip_p2").everywhere().args(SOON).start();
    // On a Unix socket there is no reset to tell it with.
    let mut conn = host.connect();
    conn.send("GET /?n=1000000&ms=20 HTTP/1.0\r\nHost: t\r\n\r\n").unwrap();
    conn.read_head().unwrap();
    host.signal(Signal::TERM);
    let (_, end) = conn.expect_reset_or_eof();
    assert_eq!(end, Ended::Reset);
    expect_cut_in_time(host, 1);
}

#[test]
fn http2_streams_that_are_cut_get_503_or_a_reset_and_never_a_whole_looking_answer() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).args(SOON).start();
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/", false);
        assert_eq!(h2.expect_status(1), 200);
        h2.send_headers(3, "POST", "/head", false);
        host.wait_log(says::GATE_STARTED);
        host.signal(Signal::TERM);
        let answer = h2.expect_answer(3);
        assert_eq!(answer.status, 503);
        assert!(answer.headers.iter().any(|(name, _)| name == "retry-after"), "{answer:?}");
        assert_ne!(h2.expect_rst(1), NO_ERROR);
        drop(h2);
        let exit = expect_cut_in_time(host, 1);
        assert_eq!(StopSummary::read(&exit).cut, 2);
    }
}

/// Each of them is told, however many there are at once.
#[test]
fn every_exchange_of_a_crowd_that_is_cut_before_its_head_is_told_503() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).args(["--drain-timeout", "2s"]).start();
        let mut crowd: Vec<Conn> = (0..100).map(|_| host.connect()).collect();
        for conn in &mut crowd {
            conn.send(POST_HEAD).unwrap();
        }
        let mut multiplexed: Vec<H2> = (0..5).map(|_| H2::connect(host.addr())).collect();
        let streams = || (1..40).step_by(2);
        for h2 in &mut multiplexed {
            streams().for_each(|stream| h2.send_headers(stream, "POST", "/head", false));
        }
        host.wait_log_nth(says::GATE_STARTED, 200);
        host.signal(Signal::TERM);
        for h2 in &mut multiplexed {
            for stream in streams() {
                assert_eq!(h2.expect_answer(stream).status, 503, "stream {stream}");
            }
        }
        crowd.iter_mut().for_each(expect_cut);
        drop((crowd, multiplexed));
        host.wait_exit().expect_code(1).expect_last_line("s: 0 exchanges finished, 200 cut, ");
    }
}

/// More of them than there are threads: no thread is left to run anything else.
#[test]
fn guests_that_never_yield_do_not_hold_the_stop_and_are_told_503() {
    let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    for guest in ["busy_p2", "busy_p3"] {
        let host = Host::serve(guest).args(SOON).start();
        let mut conns: Vec<Conn> = (0..=cores).map(|_| host.connect()).collect();
        for conn in &mut conns {
            get(conn, "/");
        }
        host.wait_log_nth(says::SPINNING, cores + 1);
        host.signal(Signal::TERM);
        for conn in &mut conns {
            expect_cut(conn);
        }
        drop(conns);
        let exit = expect_cut_in_time(host, 1);
        assert_eq!(StopSummary::read(&exit).cut, cores as u64 + 1);
    }
}

#[test]
fn guests_that_never_yield_after_their_head_do_not_hold_the_stop_and_break_their_answer() {
    let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    for guest in ["busy_p2", "busy_p3"] {
        let host = Host::serve(guest).args(SOON).start();
        let mut conns: Vec<Conn> = (0..=cores).map(|_| host.connect()).collect();
        for conn in &mut conns {
            get(conn, "/late");
        }
        let heads: Vec<Head> = conns.iter_mut().map(|conn| conn.read_head().unwrap()).collect();
        host.signal(Signal::TERM);
        for (conn, head) in conns.iter_mut().zip(heads) {
            assert_broken(conn.read_body(&head, "GET"));
        }
        let exit = expect_cut_in_time(host, 1);
        assert_eq!(StopSummary::read(&exit).cut, cores as u64 + 1);
    }
}

/// Guests that wait for a slot are cut like those that have one.
#[test]
fn request_that_waits_for_an_instance_at_the_drain_timeout_is_told_503() {
    let args = ["--max-instances", "1", "--queue-timeout", "60s"];
    let host = Host::serve("gate_p2").args(args).args(SOON).start();
    let held = Held::on(&host);
    let mut waiting = host.connect();
    get(&mut waiting, "/");
    host.signal(Signal::TERM);
    expect_cut(&mut waiting);
    drop(held);
    expect_cut_in_time(host, 1).expect_last_line("s: 0 exchanges finished, 2 cut, ");
}

/// So is an exchange that does not wait for one yet, because its body is read first.
#[test]
fn request_whose_body_is_read_first_at_the_drain_timeout_is_told_503() {
    let host = Host::serve("echo_p2").args(SOON).start();
    let mut conn = host.connect();
    conn.send(wire::sized("/", 10) + "12345").unwrap();
    host.signal(Signal::TERM);
    expect_cut(&mut conn);
    expect_cut_in_time(host, 1).expect_last_line("s: 0 exchanges finished, 1 cut, ");
}

#[test]
fn survivors_are_named_with_method_path_generation_and_age() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).args(SOON).start();
        let mut conn = host.connect();
        conn.send(POST_HEAD.replace("/head", "/head?who=me")).unwrap();
        host.wait_log(says::GATE_STARTED);
        host.signal(Signal::TERM);
        expect_cut(&mut conn);
        let exit = expect_cut_in_time(host, 1);
        let mut lines = exit.stderr.lines().skip_while(|line| !line.contains(says::CUT));
        let named = lines.find(|line| line.contains(says::SURVIVOR));
        let named = named.expect("the survivor is named");
        let age = named.split("age=").nth(1).and_then(|age| age.split('s').next()).unwrap();
        assert!(age.parse::<f64>().unwrap() >= 1.0, "{named}");
        assert!(named.contains("POST /head?who=me generation=1"), "{named}");
    }
}

/// A long linger is bounded by the drain timeout, and idle connections are not work.
#[test]
fn silent_peers_do_not_hold_the_stop_and_lose_nothing() {
    let host = Host::serve("hello_p2").everywhere().args(["--linger", "1h"]).args(SOON).start();
    let mut fresh = connections(&host);
    let mut kept = connections(&host);
    for conn in &mut kept {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    wait_accepted(&host);
    host.signal(Signal::TERM);
    let exit = expect_cut_in_time(host, 0);
    exit.expect_last_line(says::NOTHING_CUT);
    for conn in fresh.iter_mut().chain(&mut kept) {
        conn.expect_fin();
    }
}

#[test]
fn half_a_head_does_not_hold_the_stop_and_is_told_503() {
    let host = Host::serve("hello_p2").everywhere().args(["--linger", "0s"]).args(SOON).start();
    let mut first = connections(&host);
    let mut second = connections(&host);
    for conn in &mut second {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    for conn in first.iter_mut().chain(&mut second) {
        conn.send("GET / HTTP/1.1\r\nHo").unwrap();
    }
    wait_accepted(&host);
    host.signal(Signal::TERM);
    for conn in first.iter_mut().chain(&mut second) {
        expect_cut(conn);
    }
    drop((first, second));
    let exit = expect_cut_in_time(host, 1);
    assert_eq!(StopSummary::read(&exit).dropped, 6, "each had begun to ask");
}
