//! A guest gets nothing that it was not given, and hurts only itself.

use std::time::Duration;

use crate::support::memory::resident_kib;
use crate::support::prelude::*;
use crate::support::wire;

#[test]
fn guest_has_nothing_that_it_was_not_given() {
    for guest in ["grants_p2", "grants_p3"] {
        let host = Host::serve(guest).env("SECRET", "x").start();
        // wasmtime calls a denied lookup so; a literal address resolves wherever one is allowed.
        let text = host.get("/?name=127.0.0.1").text();
        for line in [
            "env: 0",
            "args: 0",
            "preopens: 0",
            "stdin: closed",
            "random: 8",
            "tcp: denied",
            "udp: denied",
            "dns: permanent-resolver-failure",
            "http: denied",
        ] {
            assert!(text.lines().any(|l| l == line), "{guest}: no {line:?} in:\n{text}");
        }
    }
}

#[test]
fn guest_cannot_reach_the_host_that_serves_it() {
    for guest in ["grants_p2", "grants_p3"] {
        let host = Host::serve(guest).start();
        let text = host.get(&format!("/?ip=127.0.0.1&port={}", host.addr().port())).text();
        assert!(text.contains("tcp: denied\n") && text.contains("http: denied\n"), "{text}");
    }
}

#[test]
fn escapes_that_a_guest_prints_are_made_visible_in_the_log() {
    for guest in ["chatty_p2", "chatty_p3"] {
        let host = Host::serve(guest).start();
        assert_eq!(host.get("/escape").status(), 200);
        let line = host.wait_log("before ");
        assert!(line.contains(r"before \u{1b}[31mred\u{0}after"), "{line:?}");
        assert!(line.contains(&format!("component=\"{guest}\"")), "{line:?}");
        assert!(!host.log().contains(['\u{1b}', '\0']), "{:?}", host.log());
    }
}

#[test]
fn guest_that_floods_its_log_is_heard_only_so_far() {
    for guest in ["chatty_p2", "chatty_p3"] {
        let host = Host::serve(guest).start();
        assert_eq!(host.get("/?n=5000&len=20").status(), 200);
        host.wait_log("guest printed too much");
        let lines = host.log().matches(&"x".repeat(20)).count();
        assert!((900..=1000).contains(&lines), "{lines} lines");
    }
}

#[test]
fn line_without_an_end_is_cut_and_bounded() {
    for guest in ["chatty_p2", "chatty_p3"] {
        // More than a component's log may have in a second; the line behind it is waited for.
        let host = Host::serve(guest).args(["--guest-log-rate", "64MiB/s"]).start();
        assert_eq!(host.get("/?n=1&len=1000000").status(), 200);
        assert_eq!(host.get("/?n=1&len=3").status(), 200);
        host.wait_log(" xxx ");
        let longest = host.log().lines().map(str::len).max().unwrap_or_default();
        assert!((1024..2000).contains(&longest), "a line of {longest} bytes");
    }
}

/// A request that waited for a guest that spins would wait for longer than a test does.
const FOR_EVER: [&str; 6] =
    ["--cpu-time", "1h", "--response-head-timeout", "1h", "--exchange-timeout", "1h"];

#[test]
fn spinning_guests_on_every_core_leave_the_others_their_answers() {
    for guest in ["busy_p2", "busy_p3"] {
        let host = Host::serve(guest).args(FOR_EVER).start();
        let cores = std::thread::available_parallelism().expect("known").get();
        let mut spinners: Vec<Conn> = (0..cores).map(|_| host.connect()).collect();
        for conn in &mut spinners {
            conn.send(wire::get("/")).unwrap();
        }
        host.wait_log_nth("busy: spinning", cores);
        for _ in 0..20 {
            assert_eq!(host.get("/?ms=0").text(), "spun\n");
        }
        assert!(spinners.iter().all(Conn::is_quiet), "they still spin");
    }
}

#[test]
fn spinning_guests_leave_streams_of_the_same_h2_connection_their_answers() {
    for guest in ["busy_p2", "busy_p3"] {
        let host = Host::serve(guest).args(FOR_EVER).start();
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/");
        h2.get(3, "/");
        host.wait_log_nth("busy: spinning", 2);
        for i in 0..20 {
            h2.get(5 + 2 * i, "/?ms=0");
            assert_eq!(h2.expect_answer(5 + 2 * i).body, b"spun\n");
        }
    }
}

#[test]
fn trap_of_one_guest_leaves_its_neighbour_alone() {
    for guest in ["trap_late_p2", "trap_late_p3"] {
        let host = Host::serve(guest).start();
        let mut neighbour = host.connect();
        neighbour.send(wire::chunked("/gate")).unwrap();
        assert_eq!(neighbour.read_head().unwrap().status, 200);
        assert_eq!(neighbour.read_chunk().unwrap().as_deref(), Some(&b"first\n"[..]));
        for _ in 0..20 {
            match host.connect().get("/") {
                Ok(answer) => assert_eq!(answer.status(), 500, "{answer}"),
                broken => wire::assert_broken(broken),
            }
        }
        assert!(neighbour.is_quiet(), "the neighbour goes on");
    }
}

/// A million calls of a 0.3 guest take seconds, and more on a busy machine.
const LONG: Duration = Duration::from_secs(90);

/// Most that a host may grow by, in KiB, whatever a guest writes.
const GROWTH: u64 = 64 << 10;

#[test]
fn empty_writes_to_stdout_take_no_memory() {
    for guest in ["empty_p2", "empty_p3"] {
        let host = Host::serve(guest).args(["--cpu-time", "60s"]).start();
        assert_eq!(host.get("/stdout?n=1").text(), "done\n");
        let before = resident_kib(&host);
        let mut conn = host.connect().patient(LONG);
        assert_eq!(conn.get("/stdout?n=1000000").unwrap().text(), "done\n");
        let grown = resident_kib(&host).saturating_sub(before);
        assert!(grown < GROWTH, "{guest} grew the host by {grown} KiB");
    }
}

#[test]
fn empty_writes_into_a_body_take_no_memory() {
    for guest in ["empty_p2", "empty_p3"] {
        // Empty frames are silence to a host, and a busy machine takes its time for a million.
        let patient = ["--cpu-time", "60s", "--body-idle-timeout", "5m"];
        let host = Host::serve(guest).args(patient).start();
        assert_eq!(host.get("/body?n=1").text(), "done\n");
        let before = resident_kib(&host);
        let mut conn = host.connect().patient(LONG);
        assert_eq!(conn.get("/body?n=1000000").unwrap().text(), "done\n");
        let mut h2 = H2::over(host.connect().patient(LONG), 65_535);
        h2.get(1, "/body?n=1000000");
        assert_eq!(h2.expect_answer(1).body, b"done\n");
        let grown = resident_kib(&host).saturating_sub(before);
        assert!(grown < GROWTH, "{guest} grew the host by {grown} KiB");
    }
}

#[test]
fn body_of_nothing_for_ever_is_cut() {
    for guest in ["empty_p2", "empty_p3"] {
        for (flag, value) in [("--body-idle-timeout", "500ms"), ("--cpu-time", "500ms")] {
            let host = Host::serve(guest).args([flag, value]).start();
            wire::assert_broken(host.connect().get("/body/forever"));
            let mut h2 = H2::connect(host.addr());
            h2.get(1, "/body/forever");
            h2.expect_rst(1);
        }
    }
}
