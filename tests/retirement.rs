//! What becomes of a version that was replaced: it ends with its last exchange, or is cut.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use crate::support::app::{App, expect_swapped, reload, swap_to, variant, version, version_h2};
use crate::support::gate::{Gate, PAIRS};
use crate::support::prelude::*;
use crate::support::stop::{Held, OPEN, POST_HEAD};
use crate::support::wire;

#[test]
fn retired_generation_is_gone_with_its_last_exchange_and_not_before() {
    for guest in ["gate_p2", "gate_p3"] {
        let app = App::new(guest);
        let host = app.serve().start();
        let held = [Held::on(&host), Held::on(&host)];
        swap_to(&host, &app, "version_b_p2");
        for held in held {
            assert!(!host.log().contains(says::RETIRED_GONE), "one is still held");
            drop(held.open());
        }
        host.wait_log(says::RETIRED_GONE);
    }
}

#[test]
fn generation_without_exchanges_is_gone_at_once() {
    let app = App::new("version_a_p2");
    let host = app.serve().start();
    let idle = host.connect();
    swap_to(&host, &app, "version_b_p2");
    host.wait_log(says::RETIRED_GONE);
    drop(idle);
}

#[test]
fn oldest_retired_generation_is_cut_when_there_are_too_many_and_no_other() {
    for [a, b] in PAIRS {
        let app = App::new(a);
        let host = app.serve().args(["--max-retired", "2"]).start();
        let mut held = vec![Gate::on(&host)];
        for guest in [b, a, b] {
            swap_to(&host, &app, guest);
            held.push(Gate::on(&host));
        }
        let line = host.wait_log(says::RETIRED_CUT);
        assert!(line.contains("generation=1") && line.contains("too many"), "{line}");
        held.remove(0).expect_broken();
        let gone = host.wait_log(says::RETIRED_GONE);
        assert!(gone.contains("generation=1"), "{gone}");
        let letters: String = held.iter().map(|held| held.version.as_str()).collect();
        assert_eq!(letters, "bab", "each runs on its own");
        held.into_iter().for_each(|held| drop(held.open()));
        host.wait_log_nth(says::RETIRED_GONE, 3);
        assert_eq!(host.log().matches(says::RETIRED_CUT).count(), 1);
    }
}

/// Only a generation that still serves a request lingers.
#[test]
fn retired_generation_on_which_nothing_runs_is_not_counted() {
    let app = App::new("version_a_p2");
    let host = app.serve().args(["--max-retired", "1"]).start();
    let held = Gate::on(&host);
    for guest in ["version_b_p2", "version_a_p2", "version_b_p2"] {
        swap_to(&host, &app, guest);
    }
    drop(held.open());
    host.wait_log_nth(says::RETIRED_GONE, 3);
    assert!(!host.log().contains(says::RETIRED_CUT), "{}", host.log());
}

#[test]
fn exchange_that_is_cut_with_its_generation_before_its_head_is_told_to_come_again() {
    for guest in ["gate_p2", "gate_p3"] {
        let app = App::new(guest);
        let host = app.serve().args(["--retire-timeout", "300ms"]).start();
        let mut conn = host.connect();
        conn.send(POST_HEAD).unwrap();
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/head", false);
        host.wait_log_nth(says::GATE_STARTED, 2);
        swap_to(&host, &app, "version_b_p2");
        let answer = conn.read_response("POST").unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (503, "replaced; try again\n"));
        assert!(answer.header("retry-after").is_some(), "{answer}");
        if answer.head.says_close() {
            // The rest of the request is not waited for.
            conn.expect_fin();
        } else {
            conn.send(OPEN).unwrap();
            assert_eq!(version(&conn.get("/").unwrap()), "b", "the connection goes on");
        }
        let answer = h2.expect_answer(1);
        assert_eq!(answer.status, 503);
        assert!(answer.headers.iter().any(|(name, _)| name == "retry-after"), "{answer:?}");
        h2.get(3, "/");
        assert_eq!(version_h2(&h2.expect_answer(3)), "b", "the connection goes on");
        host.wait_log(says::RETIRED_GONE);
    }
}

#[test]
fn what_runs_on_a_retired_generation_is_cut_when_its_time_is_up_and_not_before() {
    for [a, b] in PAIRS {
        let app = App::new(a);
        let host = app.serve().args(["--retire-timeout", "300ms"]).start();
        let old = Gate::on(&host);
        let asked = Instant::now();
        swap_to(&host, &app, b);
        let new = Gate::on(&host);
        old.expect_broken();
        assert!(asked.elapsed() >= Duration::from_millis(300), "{:?}", asked.elapsed());
        let line = host.wait_log(says::RETIRED_CUT);
        assert!(line.contains("generation=1") && line.contains("time is up"), "{line}");
        host.wait_log(says::RETIRED_GONE);
        assert_eq!(version(&new.open().get("/").unwrap()), "b");
    }
}

/// A guest that never yields is cut like one that waits.
#[test]
fn guest_that_spins_on_a_retired_generation_is_cut_when_its_time_is_up() {
    for guest in ["busy_p2", "busy_p3"] {
        let app = App::new(guest);
        let host = app.serve().args(["--retire-timeout", "300ms"]).start();
        let mut conn = host.connect();
        conn.send(wire::get("/")).unwrap();
        host.wait_log(says::SPINNING);
        swap_to(&host, &app, "version_b_p2");
        assert_eq!(conn.read_response("GET").unwrap().status(), 503);
        host.wait_log(says::RETIRED_GONE);
        assert_eq!(version(&conn.get("/").unwrap()), "b");
    }
}

#[test]
fn retired_generation_waits_for_work_after_the_answer() {
    for guest in ["after_p2", "after_p3"] {
        let app = App::new(guest);
        let host = app.serve().start();
        assert_eq!(host.get("/?ms=4000").text(), "answered\n");
        swap_to(&host, &app, "version_b_p2");
        host.wait_log(says::RETIRED_GONE);
        let log = host.log();
        let swapped = log.find(says::SWAPPED).expect("it was swapped");
        let done = log.find(says::AFTER_DONE).expect("the guest finished");
        let gone = log.find(says::RETIRED_GONE).expect("it is gone");
        assert!(swapped < done && done < gone, "{guest}:\n{log}");
    }
}

#[test]
fn work_after_the_answer_is_cut_with_its_generation() {
    for guest in ["after_p2", "after_p3"] {
        for path in ["/forever", "/spin"] {
            let app = App::new(guest);
            let host = app.serve().args(["--retire-timeout", "300ms"]).start();
            assert_eq!(host.get(path).text(), "answered\n");
            swap_to(&host, &app, "version_b_p2");
            host.wait_log("work after the answer cut with its generation");
            host.wait_log(says::RETIRED_GONE);
        }
    }
}

/// How many pieces of compiled code `host` can run, and how many files it has mapped for them: the first images
/// of memories are pages of these.
fn mapped(host: &Host) -> (usize, usize) {
    let maps = fs::read_to_string(format!("/proc/{}/maps", host.pid())).expect("it runs");
    let fields = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = maps.lines().map(fields).collect();
    let ours = |fields: &&Vec<String>| {
        let path = fields[5..].concat();
        path.contains("memfd:host-code") || path.contains("wasm-memory-image")
    };
    let files: BTreeSet<&String> = lines.iter().filter(ours).map(|fields| &fields[4]).collect();
    (lines.iter().filter(ours).filter(|fields| fields[1] == "r-xp").count(), files.len())
}

/// Of the one that serves and the one that a rollback would bring back.
#[test]
fn code_of_no_more_than_two_versions_is_kept_however_many_there_were() {
    for guest in ["version_a_p2", "version_a_p3"] {
        let app = App::new(guest);
        let host = app.serve().start();
        let (code, files) = mapped(&host);
        assert!(code > 0 && files > 0, "{code} and {files}");
        let versions: Vec<_> = (0..4).map(|number| variant(guest, number)).collect();
        for file in versions.iter().cycle().take(100) {
            app.put_bytes(file);
            expect_swapped(&reload(&host));
        }
        host.wait_log_nth(says::RETIRED_GONE, 100);
        assert_eq!(mapped(&host), (2 * code, 2 * files), "{guest}");
    }
}
