//! Hooks and `host:lifecycle`: a guest is told of its start and its end, and what it asks for is
//! granted or not.

use sha2::{Digest as _, Sha256};

use crate::support::app::{App, bytes, swap_to};
use crate::support::prelude::*;
use crate::support::wire;

/// What the hooks have printed, in order, without the times.
fn hooks(log: &str) -> Vec<&'static str> {
    let names = [says::ON_START, says::ON_DRAIN, says::ON_SHUTDOWN];
    log.lines().filter_map(|line| names.into_iter().find(|name| line.contains(name))).collect()
}

/// The number that follows `text` in `line`.
#[track_caller]
fn number_after(line: &str, text: &str) -> u64 {
    let rest = line.split_once(text).unwrap_or_else(|| panic!("no {text:?} in {line:?}")).1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {text:?} in {line:?}"))
}

/// What an instance without a request says at a load: it lives a whole life.
const TRIAL: [&str; 2] = [says::ON_START, says::ON_SHUTDOWN];

/// An answer of `hooks` that lasts until a drain begins.
struct Hold {
    conn: Conn,
    head: Head,
}

impl Hold {
    #[track_caller]
    fn on(host: &Host) -> Self {
        let mut conn = host.connect();
        conn.send(wire::get("/hold")).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(&b"held\n"[..]));
        Self { conn, head }
    }

    /// Expects that it ends by itself, whole, and knows how many milliseconds are left: at most
    /// `most`. Gives the connection back.
    #[track_caller]
    fn expect_drained(mut self, most: u64) -> Conn {
        let rest = self.conn.read_body(&self.head, "GET").expect("to the last chunk").text();
        let left = number_after(&rest, "drained draining=true deadline=");
        assert!((1..=most).contains(&left), "{rest}");
        self.conn
    }
}

/// Fails unless `on-drain` was called once, with some time up to `most` milliseconds.
#[track_caller]
fn expect_told_once(log: &str, most: u64) {
    let told: Vec<&str> = log.lines().filter(|line| line.contains(says::ON_DRAIN)).collect();
    let [line] = told[..] else { panic!("on-drain, once: {told:?} in\n{log}") };
    let left = number_after(line, says::ON_DRAIN);
    assert!((1..=most).contains(&left), "{line}");
}

#[test]
fn start_is_before_the_first_request_and_shutdown_after_the_answer() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let host = Host::serve(guest).start();
        for lives in 1..5 {
            host.wait_log_nth(says::ON_SHUTDOWN, lives);
            assert_eq!(hooks(&host.log()), TRIAL.repeat(lives), "{guest}");
            let text = host.get("/").text();
            assert!(text.starts_with("started=true draining=false deadline=none "), "{text}");
        }
    }
}

#[test]
fn shutdown_is_told_how_long_it_may_take() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let host = Host::serve(guest).args(["--hook-timeout", "700ms"]).start();
        let left = number_after(&host.wait_log(says::ON_SHUTDOWN), says::ON_SHUTDOWN);
        assert_eq!(left, 700);
    }
}

#[test]
fn guest_knows_its_generation_by_number_and_digest() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let app = App::new(guest);
        let host = app.serve().start();
        let digest: String =
            Sha256::digest(bytes(guest)).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let text = host.get("/").text();
        assert!(text.ends_with(&format!(" generation=1-{digest} requests=1\n")), "{text}");
        swap_to(&host, &app, "version_a_p2");
        swap_to(&host, &app, guest);
        let text = host.get("/").text();
        assert!(text.contains(&format!(" generation=3-{digest} ")), "{text}");
    }
}

#[test]
fn stream_that_waits_for_a_drain_ends_by_itself_when_a_stop_begins() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let host = Host::serve(guest).args(["--drain-timeout", "20s"]).start();
        let held = Hold::on(&host);
        host.signal(Signal::TERM);
        drop(held.expect_drained(20_000));
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line("s: 1 exchange finished, 0 cut, 0 conn");
        expect_told_once(&exit.stderr, 20_000);
        let whole = [&TRIAL[..], &[says::ON_START, says::ON_DRAIN, says::ON_SHUTDOWN]].concat();
        assert_eq!(hooks(&exit.stderr), whole, "{guest}");
    }
}

#[test]
fn stream_that_waits_for_a_drain_ends_by_itself_when_its_version_is_replaced() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let app = App::new(guest);
        let host = app.serve().args(["--retire-timeout", "20s"]).start();
        let held = Hold::on(&host);
        swap_to(&host, &app, "version_b_p2");
        let mut conn = held.expect_drained(20_000);
        assert_eq!(conn.get("/").unwrap().header("x-version"), Some("b"), "its connection goes on");
        host.wait_log(says::RETIRED_GONE);
        expect_told_once(&host.log(), 20_000);
    }
}

/// One that is told already is not told again, and its deadline comes nearer.
#[test]
fn stop_after_a_swap_tells_no_instance_twice() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let app = App::new(guest);
        let host = app.serve().start();
        let held = Hold::on(&host);
        swap_to(&host, &app, "version_b_p2");
        host.signal(Signal::TERM);
        drop(held.expect_drained(60_000));
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        expect_told_once(&exit.stderr, 60_000);
    }
}

/// An instance that is made after the stop has begun knows of it, and its `on-drain` is not called.
#[test]
fn instance_that_is_born_during_a_drain_knows_that_it_drains() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let host = Host::serve(guest).args(["--linger", "20s"]).start();
        let mut conn = host.connect();
        assert_eq!(conn.get("/").unwrap().status(), 200);
        host.signal(Signal::TERM);
        host.wait_log(says::DRAINING);
        // Within the linger.
        let answer = conn.get("/").unwrap();
        let left = number_after(&answer.text(), "started=true draining=true deadline=");
        assert!((1..=25_000).contains(&left), "{answer}");
        conn.expect_fin();
        drop(conn);
        let exit = host.wait_exit();
        exit.expect_code(0);
        assert_eq!(hooks(&exit.stderr), TRIAL.repeat(3), "{guest}");
    }
}

#[test]
fn shutdown_hook_that_never_ends_holds_neither_the_answer_nor_the_stop() {
    for guest in ["shutdown_spin_p2", "shutdown_spin_p3"] {
        let args = ["--hook-timeout", "500ms", "--drain-timeout", "1h"];
        let host = Host::serve(guest).args(args).start();
        // The first was at the load.
        host.wait_log(says::HOOK_FAILED);
        assert_eq!(host.get("/").text(), "ok\n");
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        let failed: Vec<&str> =
            exit.stderr.lines().filter(|line| line.contains(says::HOOK_FAILED)).collect();
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert!(failed[1].contains("on-shutdown"), "{failed:?}");
    }
}

/// More of them than there are threads, and one after the other they last longer than a test.
#[test]
fn crowd_of_shutdown_hooks_that_never_end_does_not_hold_the_stop() {
    for guest in ["shutdown_spin_p2", "shutdown_spin_p3"] {
        let args = ["--hook-timeout", "1s", "--drain-timeout", "1h"];
        let host = Host::serve(guest).args(args).start();
        let mut conns: Vec<Conn> = (0..=PATIENCE.as_secs()).map(|_| host.connect()).collect();
        for conn in &mut conns {
            conn.send(wire::get("/")).unwrap();
        }
        for conn in &mut conns {
            assert_eq!(conn.read_response("GET").unwrap().text(), "ok\n");
        }
        drop(conns);
        host.signal(Signal::TERM);
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}

/// The drain timeout is the end of everything, hooks too.
#[test]
fn hooks_do_not_last_beyond_the_drain_timeout() {
    for guest in ["shutdown_spin_p2", "shutdown_spin_p3"] {
        // A hook that ends at its own limit is not cut. The instance at the load has one too.
        let args = ["--hook-timeout", "5s", "--drain-timeout", "500ms"];
        let host = Host::serve(guest).args(args).start();
        assert_eq!(host.get("/").text(), "ok\n");
        host.signal(Signal::TERM);
        host.wait_exit().expect_code(1).expect_last_line(", 1 cut, 0 conn");
    }
}

#[test]
fn guest_that_asks_for_a_stop_without_the_grant_gets_a_line_in_the_log_and_no_more() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let host = Host::serve(guest).start();
        assert_eq!(host.get("/shutdown").text(), "x".repeat(64 << 10));
        let line = host.wait_log(says::MAY_NOT_STOP);
        assert!(line.contains("asked over http"), "{line}");
        assert_eq!(host.get("/").status(), 200);
        assert!(!host.log().contains(says::ASKED), "{}", host.log());
    }
}

#[test]
fn guest_that_may_stop_the_host_gives_its_whole_answer_first() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let grant = ["--grant", "request-shutdown"];
        let host = Host::serve(guest).args(grant).start();
        let answer = host.get("/shutdown");
        assert_eq!(answer.text(), "x".repeat(64 << 10));
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        assert!(exit.stderr.contains("asked over http"), "{}", exit.stderr);
    }
}

/// Even where the drain leaves no time for it.
#[test]
fn answer_of_a_guest_that_stops_the_host_is_whole_whatever_the_drain_timeout() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let args = ["--grant", "request-shutdown", "--drain-timeout", "0s"];
        let host = Host::serve(guest).args(args).start();
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/shutdown");
        let answer = h2.expect_answer(1);
        assert_eq!((answer.status, answer.body.len()), (200, 64 << 10));
        host.wait_exit().expect_last_line(says::STOPPED);
    }
}

/// Server-sent events: the client sees whole events, and connects anew.
#[test]
fn events_end_behind_an_event_when_a_stop_begins_or_their_version_is_replaced() {
    for guest in ["events_p2", "events_p3"] {
        let app = App::new(guest);
        for stops in [true, false] {
            let host = app.serve().start();
            let mut conn = host.connect();
            conn.send(wire::get("/?ms=20")).unwrap();
            let head = conn.read_head().unwrap();
            assert_eq!(head.header("content-type"), Some("text/event-stream"));
            let mut text = String::new();
            while !text.contains("data: 3\n\n") {
                let chunk = conn.read_chunk().unwrap().expect("it goes on");
                text += &String::from_utf8(chunk).unwrap();
            }
            if stops {
                host.signal(Signal::TERM);
            } else {
                swap_to(&host, &app, "version_b_p2");
            }
            text += &conn.read_body(&head, "GET").expect("to the last chunk").text();
            let events: String = (1..=text.matches("data: ").count())
                .map(|number| format!("data: {number}\n\n"))
                .collect();
            assert_eq!(text, events, "whole events");
            if stops {
                drop(conn);
                host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
            } else {
                host.wait_log(says::RETIRED_GONE);
            }
        }
    }
}

#[test]
fn tally_counts_and_says_so_at_its_end() {
    for guest in ["tally_p2", "tally_p3"] {
        // One instance, so that a request waits until the one before has given it back.
        let args = ["--reuse", "10", "--max-instances", "1", "--grant", "request-shutdown"];
        let host = Host::serve(guest).args(args).start();
        for requests in 1..=3 {
            assert_eq!(host.get("/").text(), format!("request {requests}\n"));
        }
        assert!(host.get("/stop").text().starts_with("request 4"));
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        let log = &exit.stderr;
        assert_eq!(log.matches("an instance of 1-").count(), 2, "with that of the load: {log}");
        assert!(log.contains("no more requests, "), "{log}");
        assert!(log.contains("4 requests, "), "{log}");
    }
}
