//! A client that goes away takes its guest with it.
//!
//! Each host here has one instance: the next request is served only when the first guest is gone.

use crate::support::prelude::*;
use crate::support::wire;

/// A host with one instance, for which the next request waits longer than a test does.
fn one_instance(guest: &str) -> Host {
    let args = ["--max-instances", "1", "--max-queue", "1", "--queue-timeout", "60s"];
    Host::serve(guest).args(args).start()
}

#[test]
fn h1_client_that_resets_before_the_head_frees_its_instance() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = one_instance(guest);
        let mut conn = host.connect();
        conn.send(wire::chunked("/head")).unwrap();
        host.wait_log(says::GATE_STARTED);
        conn.reset();
        assert_eq!(host.get("/head").text(), "done\n");
    }
}

#[test]
fn h1_client_that_resets_while_its_guest_sleeps_frees_its_instance() {
    for guest in ["sleep_p2", "sleep_p3"] {
        let host = one_instance(guest);
        let mut conn = host.connect();
        conn.send(wire::get("/?ms=600000")).unwrap();
        let next = host.connect();
        conn.reset();
        let mut next = next;
        assert_eq!(next.get("/?ms=0").unwrap().status(), 200);
    }
}

#[test]
fn h2_client_that_resets_its_stream_before_the_head_frees_its_instance() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = one_instance(guest);
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/head", false);
        host.wait_log(says::GATE_STARTED);
        h2.send_rst(1, 8);
        h2.get(3, "/head");
        assert_eq!(h2.expect_answer(3).body, b"done\n");
    }
}

#[test]
fn h2_client_that_closes_frees_the_instances_of_all_its_streams() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = one_instance(guest);
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/head", false);
        host.wait_log(says::GATE_STARTED);
        drop(h2);
        assert_eq!(host.get("/head").text(), "done\n");
    }
}

#[test]
fn h1_client_that_closes_during_a_stream_stops_it() {
    for guest in ["drip_p2", "drip_p3"] {
        let host = one_instance(guest);
        let mut conn = host.connect();
        conn.send(wire::get("/?n=100000&ms=10&log=1")).unwrap();
        host.wait_log("drip: tick 3");
        drop(conn);
        assert_eq!(host.get("/?n=1&ms=0").text(), "tick 1\n");
    }
}

#[test]
fn h2_client_that_resets_a_stream_stops_it() {
    for guest in ["drip_p2", "drip_p3"] {
        let host = one_instance(guest);
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/?n=100000&ms=10");
        assert_eq!(h2.expect_data(1).0, b"tick 1\n");
        h2.send_rst(1, 8);
        h2.get(3, "/?n=1&ms=0");
        assert_eq!(h2.expect_answer(3).body, b"tick 1\n");
    }
}

#[test]
fn upload_broken_off_breaks_the_answer_off() {
    for guest in ["echo_p2", "echo_p3"] {
        let host = one_instance(guest);
        let mut conn = host.connect();
        conn.send(wire::chunked("/")).unwrap();
        conn.send(wire::chunk("half")).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(&b"half"[..]));
        conn.half_close();
        wire::assert_broken(conn.read_chunk());
        assert_eq!(host.get("/").status(), 200);
    }
}

#[test]
fn peer_that_goes_away_is_not_worth_a_warning() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = one_instance(guest);
        let mut conn = host.connect();
        conn.send(wire::chunked("/head")).unwrap();
        host.wait_log(says::GATE_STARTED);
        let mark = host.mark();
        conn.reset();
        assert_eq!(host.get("/head").text(), "done\n");
        host.wait_log_after(mark, says::GATE_STARTED);
        let log = host.log();
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    }
}
