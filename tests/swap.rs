//! Swaps: another version serves from one moment on, and what was begun before ends as it began.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc;
use std::thread;

use serde_json::Value;

use crate::support::app::{
    App, expect_swapped, reload, slow_to_compile, swap_to, text, version, version_h2,
};
use crate::support::compiler::Compiler;
use crate::support::gate::{Gate, PAIRS};
use crate::support::host::Ctl;
use crate::support::prelude::*;
use crate::support::status::{ctl_json, json, status};
use crate::support::stop::{Held, stop};
use crate::support::wire;

#[test]
fn exchange_ends_on_the_version_it_began_on_and_the_next_of_its_connection_runs_the_new_one() {
    for [a, b] in PAIRS {
        let app = App::new(a);
        let host = app.serve().start();
        let held = Gate::on(&host);
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/gate?bytes=250", false);
        assert_eq!(h2.expect_status(1), 200);
        assert_eq!(h2.expect_data(1).0, "a".repeat(100).into_bytes());
        swap_to(&host, &app, b);
        // Beside the one that is held, on the same connection.
        h2.get(3, "/");
        assert_eq!(version_h2(&h2.expect_answer(3)), "b");
        let mut conn = held.open();
        assert_eq!(version(&conn.get("/").unwrap()), "b", "the same connection goes on");
        h2.send_data(1, b"", true);
        let mut rest = Vec::new();
        loop {
            let (bytes, last) = h2.expect_data(1);
            rest.extend(bytes);
            if last {
                break;
            }
        }
        assert_eq!(rest, "a".repeat(150).into_bytes(), "not of one version, {a} to {b}");
        let gone = host.wait_log(says::RETIRED_GONE);
        assert!(gone.contains("generation=1"), "{gone}");
    }
}

/// The inodes of all sockets that `host` has, and that of its listener.
fn sockets(host: &Host) -> (BTreeSet<String>, String) {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", host.pid())).expect("it runs");
    let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let inode = |link: &str| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    let all = links.filter_map(|link| inode(link.to_str()?)).collect();
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", host.pid())).expect("it runs");
    let port = format!(":{:04X}", host.addr().port());
    let listener = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // 0A is LISTEN (proc_pid_net(5)).
        (fields[1].ends_with(&port) && fields[3] == "0A").then(|| fields[9].to_owned())
    });
    (all, listener.expect("it listens"))
}

#[test]
fn swap_touches_neither_listener_nor_connection() {
    for [a, b] in PAIRS {
        let app = App::new(a);
        let host = app.serve().start();
        let mut conns: Vec<Conn> = (0..5).map(|_| host.connect()).collect();
        for conn in &mut conns {
            assert_eq!(version(&conn.get("/").unwrap()), "a");
        }
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/");
        assert_eq!(version_h2(&h2.expect_answer(1)), "a");
        let before = sockets(&host);
        assert!(before.0.len() > 6 && before.0.contains(&before.1), "{before:?}");
        swap_to(&host, &app, b);
        assert_eq!(sockets(&host), before);
        for conn in &mut conns {
            assert!(conn.is_quiet());
            assert_eq!(version(&conn.get("/").unwrap()), "b");
        }
        h2.get(3, "/");
        assert_eq!(version_h2(&h2.expect_answer(3)), "b");
        assert_eq!(sockets(&host), before);
    }
}

#[test]
fn file_of_the_same_bytes_is_not_swapped() {
    for guest in ["version_a_p2", "version_a_p3"] {
        let app = App::new(guest);
        let host = app.serve().control().start();
        let held = Gate::on(&host);
        assert!(reload(&host).contains(says::UNCHANGED));
        app.put(guest);
        let answer = json(&host.ctl(["--json", "reload"]));
        assert_eq!(answer, serde_json::json!({ "outcome": "unchanged", "generation": 1 }));
        assert_eq!(version(&held.open().get("/").unwrap()), "a");
        assert!(!host.log().contains(says::RETIRED_GONE));
    }
}

#[test]
fn swap_by_ctl_answers_with_its_outcome_and_serves_that_file_from_then_on() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().start();
    let other = guest("version_b_p3");
    let answer = json(&host.ctl(["--json", "swap", text(&other)]));
    assert_eq!(answer["outcome"], "swapped");
    assert_eq!((&answer["from"], &answer["to"]), (&1.into(), &2.into()));
    assert!(answer["took_ms"].as_f64().is_some_and(|took| took > 0.0), "{answer}");
    assert_eq!(version(&host.get("/")), "b");
    // What a reload reads now.
    assert!(reload(&host).contains(says::UNCHANGED));
    let exit = host.ctl(["swap", app.text()]);
    exit.expect_code(0);
    assert!(exit.stdout.contains("swapped: generation 2 to 3"), "{}", exit.stdout);
    assert_eq!(version(&host.get("/")), "a");
    swap_to(&host, &app, "version_b_p2");
    assert_eq!(version(&host.get("/")), "b");
}

#[test]
fn rollback_brings_back_the_version_before_and_a_second_one_the_other() {
    for [a, b] in PAIRS {
        let app = App::new(a);
        let host = app.serve().control().start();
        let none = host.ctl(["rollback"]);
        none.expect_code(1).expect_last_line("no previous generation");
        swap_to(&host, &app, b);
        // Not read again.
        fs::remove_file(app.path()).unwrap();
        for (number, letter) in [(3, "a"), (4, "b"), (5, "a")] {
            let answer = json(&host.ctl(["--json", "rollback"]));
            assert_eq!((&answer["outcome"], &answer["to"]), (&"swapped".into(), &number.into()));
            assert_eq!(version(&host.get("/")), letter);
        }
        app.put(b);
        assert_eq!(expect_swapped(&reload(&host)), (5, 6));
        assert_eq!(version(&host.get("/")), "b", "a reload reads the file as ever");
    }
}

#[test]
fn generations_are_listed_with_what_still_runs_on_them() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().args(["--retire-timeout", "30s"]).start();
    let held = Gate::on(&host);
    swap_to(&host, &app, "version_b_p3");
    let of = |all: &Value, at: usize, what: &str| all["generations"][at][what].clone();
    let all = ctl_json(&host, "generations");
    assert_eq!(all["generations"].as_array().map(Vec::len), Some(2), "{all}");
    assert_eq!((of(&all, 0, "number"), of(&all, 0, "state")), (2.into(), "current".into()));
    assert_eq!((of(&all, 1, "number"), of(&all, 1, "state")), (1.into(), "previous".into()));
    assert_eq!((of(&all, 0, "in_flight"), of(&all, 1, "in_flight")), (0.into(), 1.into()));
    let left = of(&all, 1, "deadline_ms").as_u64().expect("it is cut some time");
    assert!(left <= 30_000, "{left}");
    let status = status(&host);
    assert_eq!(status["last_swap"]["outcome"], "swapped", "{status}");
    assert_eq!(status["last_swap"]["trigger"], "SIGHUP");
    drop(held.open());
    host.wait_log(says::RETIRED_GONE);
    let all = ctl_json(&host, "generations");
    assert_eq!((of(&all, 1, "state"), of(&all, 1, "in_flight")), ("previous".into(), 0.into()));
    assert_eq!(of(&all, 1, "deadline_ms"), Value::Null, "nothing there to be cut");
}

/// A guest whose start never ends holds a swap for as long as hooks may take.
#[test]
fn swaps_that_are_asked_for_during_another_come_one_after_the_other_and_the_last_one_serves() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().args(["--hook-timeout", "4s"]).start();
    let ask = |guest: &str| host.start_ctl(["--json", "swap", text(&self::guest(guest))]);
    let spins = ask("start_spin_p2");
    host.wait_log(says::SWAP_BEGINS);
    let asked: Vec<(&str, Ctl)> =
        ["version_b_p2", "version_b_p3"].into_iter().map(|guest| (guest, ask(guest))).collect();
    assert_eq!(version(&host.get("/")), "a", "it serves meanwhile");
    spins.wait_exit().expect_code(1).expect_last_line("on-start did not return");
    let mut swaps: Vec<(u64, &str)> = asked
        .into_iter()
        .map(|(guest, ctl)| {
            let answer = json(&ctl.wait_exit());
            assert_eq!(answer["outcome"], "swapped", "{answer}");
            (answer["to"].as_u64().expect("a number"), guest)
        })
        .collect();
    swaps.sort_unstable();
    let [(first, _), (second, last)] = swaps[..] else { panic!("two swaps: {swaps:?}") };
    assert!(first < second, "{swaps:?}");
    let serves = ctl_json(&host, "generations");
    let path = serves["generations"][0]["path"].as_str().expect("a path").to_owned();
    assert!(path.ends_with(&format!("{last}.wasm")), "{path} is not that of {last}");
    // One is over before the next begins.
    let lines = host.log();
    let lines: Vec<&str> = lines.lines().filter(|line| line.contains(says::SWAP)).collect();
    assert_eq!(lines.len(), 6, "{lines:#?}");
    for pair in lines.chunks(2) {
        let begins = pair.iter().map(|line| line.contains(says::SWAP_BEGINS));
        assert!(begins.eq([true, false]), "{lines:#?}");
    }
}

#[test]
fn swap_works_while_every_instance_is_taken() {
    for [a, b] in PAIRS {
        let app = App::new(a);
        let host = app.serve().args(["--max-instances", "1", "--queue-timeout", "30s"]).start();
        let held = Gate::on(&host);
        let mut waits = H2::connect(host.addr());
        swap_to(&host, &app, b);
        waits.get(1, "/");
        let mut conn = held.open();
        assert_eq!(version_h2(&waits.expect_answer(1)), "b");
        assert_eq!(version(&conn.get("/").unwrap()), "b");
    }
}

#[test]
fn new_generations_number_is_in_what_the_log_says_of_its_exchanges() {
    let app = App::new("version_a_p2");
    let host = app.serve().start();
    swap_to(&host, &app, "trap_p2");
    assert_eq!(host.get("/").status(), 500);
    let line = host.wait_log("guest failed: ");
    assert!(line.contains("generation=2"), "{line}");
}

/// A component of another pool, and large: the engine is made for it beside traffic.
#[test]
fn large_components_are_swapped_in_while_requests_are_served() {
    let built = guest("hello_p2").with_file_name("hello_js.wasm");
    if !built.exists() {
        println!("no {}: `make guests-js` makes it; nothing tested", built.display());
        return;
    }
    let app = App::new("version_a_p2");
    let host = app.serve().control().args(["--compile-timeout", "2m"]).start();
    for (name, answer) in
        [("hello_js", "hello from js\n"), ("hello_js_b", "hello from js, version b\n")]
    {
        let swap = host.start_ctl(["--json", "swap", text(&guest(name))]);
        let before = host.get("/").text();
        let mut served = 0;
        while !swap.has_ended() {
            let text = host.get("/").text();
            assert!(text == before || text == answer, "{text}");
            served += 1;
        }
        assert_eq!(json(&swap.wait_exit())["outcome"], "swapped", "{}", host.log());
        assert_eq!(host.get("/").text(), answer);
        println!("{name}: {served} requests were served during the swap");
    }
}

#[test]
fn stop_wins_over_a_swap_that_compiles() {
    let app = App::new("version_a_p2");
    let args = ["--no-cache", "--compile-timeout", "1h", "--drain-timeout", "1h"];
    let host = app.serve().control().args(args).start();
    app.put_bytes(&slow_to_compile());
    let asked = host.start_ctl(["reload"]);
    host.wait_log(says::SWAP_BEGINS);
    // It stands, and would hold up an exit for longer than a test lasts.
    let compiler = Compiler::stopped(host.pid());
    let held = Gate::on(&host);
    assert_eq!(held.version, "a", "it serves meanwhile");
    host.signal(Signal::TERM);
    let rejected = host.wait_log(says::REJECTED);
    assert!(rejected.contains("the host is stopping"), "{rejected}");
    asked.wait_exit().expect_code(1).expect_last_line("the host is stopping");
    drop(held.open());
    let exit = host.wait_exit();
    exit.expect_code(0).expect_last_line("s: 1 exchange finished, 0 cut, 0 conn");
    compiler.expect_end();
}

/// A guest whose start never ends holds a swap for as long as hooks may take, but no stop.
#[test]
fn stop_wins_over_a_swap_whose_guest_starts() {
    for guest in ["start_spin_p2", "start_spin_p3"] {
        let app = App::new("version_a_p2");
        let args = ["--hook-timeout", "1h", "--drain-timeout", "1h"];
        let host = app.serve().args(args).start();
        app.put(guest);
        host.signal(Signal::HUP);
        // The first was at the start.
        host.wait_log_nth("component compiled", 2);
        assert_eq!(version(&host.get("/")), "a", "it serves meanwhile");
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        let rejected = exit.stderr.lines().find(|line| line.contains(says::REJECTED));
        assert!(rejected.is_some_and(|line| line.contains("the host is stopping")), "{rejected:?}");
    }
}

/// One is under way and sixteen wait.
#[test]
fn swaps_beyond_those_that_may_wait_are_told_to_come_again() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().args(["--hook-timeout", "1h"]).start();
    let spins = host.start_ctl(["swap", text(&guest("start_spin_p2"))]);
    host.wait_log(says::SWAP_BEGINS);
    let (ended, exits) = mpsc::channel();
    for _ in 0..17 {
        let (asked, ended) = (host.start_ctl(["reload"]), ended.clone());
        thread::spawn(move || ended.send(asked.wait_exit()).ok());
    }
    let refused = exits.recv_timeout(PATIENCE).expect("one is told to come again");
    refused.expect_code(1).expect_last_line("too many swaps are waiting already");
    assert!(exits.try_recv().is_err(), "no other was refused");
    host.signal(Signal::TERM);
    spins.wait_exit().expect_code(1).expect_last_line("the host is stopping");
    for _ in 0..16 {
        let asked = exits.recv_timeout(PATIENCE).expect("nobody is left without an answer");
        asked.expect_code(1).expect_last_line("rejected (ask): ");
    }
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

#[test]
fn swap_after_a_stop_is_refused_and_the_stop_goes_on() {
    for guest in ["gate_p2", "gate_p3"] {
        let app = App::new(guest);
        let host = app.serve().control().start();
        let held = Held::on(&host);
        stop(&host);
        app.put("version_b_p2");
        let rejected = reload(&host);
        assert!(rejected.contains(says::REJECTED), "{rejected}");
        assert!(rejected.contains("step ask: the host is stopping"), "{rejected}");
        for command in ["reload", "rollback"] {
            host.ctl([command]).expect_code(1).expect_last_line("the host is stopping");
        }
        drop(held.open());
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line("s: 1 exchange finished, 0 cut, 0 conn");
    }
}

/// What was replaced before the stop is drained like the rest.
#[test]
fn stop_waits_for_exchanges_of_retired_generations() {
    for [a, b] in PAIRS {
        let app = App::new(a);
        let host = app.serve().start();
        let first = Gate::on(&host);
        swap_to(&host, &app, b);
        let second = Gate::on(&host);
        stop(&host);
        drop((first.open(), second.open()));
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line("s: 2 exchanges finished, 0 cut, 0 conn");
    }
}

/// It has not begun, so it runs on what serves when it does.
#[test]
fn request_that_waits_for_an_instance_through_a_swap_runs_the_new_version() {
    for [a, b] in PAIRS {
        let app = App::new(a);
        let host = app.serve().args(["--max-instances", "1", "--queue-timeout", "30s"]).start();
        let held = Gate::on(&host);
        let mut waits = host.connect();
        waits.send(wire::get("/")).unwrap();
        // It is in the queue long before the swap, which compiles, is over.
        swap_to(&host, &app, b);
        assert_eq!(held.version, "a");
        drop(held.open());
        assert_eq!(version(&waits.read_response("GET").unwrap()), "b");
    }
}
