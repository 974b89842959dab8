//! Canaries: a new version takes over step by step, and is taken back when it does worse.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::app::{App, reload, text, version, version_h2};
use crate::support::canary::{LONG, canaries, expect, expect_states, shop, wait_canaries};
use crate::support::host::Ctl;
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::status::status;
use crate::support::visitors::Visitors;

/// Long enough to stay in its first step for all of a test.
const STAYS: [&str; 4] = ["--canary", "5%", "--for", "10h"];

/// A host that serves version a.
fn version_a() -> (App, Host) {
    let app = App::new("version_a_p2");
    let host = app.serve().control().start();
    (app, host)
}

/// A canary of the guest called `guest`, followed to its end, and in its first step for now.
#[track_caller]
fn begin(host: &Host, guest_name: &str) -> Ctl {
    let before = canaries(host).len();
    let path = guest(guest_name);
    let follower = host.start_ctl(["swap", text(&path), "--wait"].into_iter().chain(STAYS));
    wait_canaries(host, |list| list.len() > before);
    follower
}

#[test]
fn good_version_gets_a_share_then_more_and_then_all() {
    for guest_name in ["version_b_p2", "version_b_p3"] {
        let (_app, host) = version_a();
        let visitors = Visitors::of(&host, 4, Mode::H1Kept, None);
        let path = guest(guest_name);
        let done = host.ctl(["swap", text(&path), "--canary", "5%", "--for", "1s", "--wait"]);
        expect(&done, 0, "canary: generation 2 of app takes over from 1");
        expect(&done, 0, "promoted: generation 2 of app serves in place of 1: nothing spoke");
        for share in ["5%", "10%", "20%", "40%"] {
            host.wait_log(&format!("share={share}"));
        }
        expect_states(&host, &[(1, "previous"), (2, "current")]);
        assert_eq!(version(&host.get("/")), "b");
        let answers = visitors.stop();
        assert_eq!(answers.failed(), 0);
        let done = host.ctl(["rollback"]);
        done.expect_code(0);
        assert_eq!(version(&host.get("/")), "a", "the version before is kept for a rollback");
    }
}

#[test]
fn version_that_fails_is_taken_back_and_everybody_is_told_why() {
    let (app, host) = version_a();
    let visitors = Visitors::of(&host, 4, Mode::H1Kept, None);
    let path = guest("trap_p2");
    let done = host.ctl(["swap", text(&path), "--wait"].into_iter().chain(STAYS));
    expect(&done, 5, "aborted: generation 2 of app is taken back, 1 goes on: errors > 1%: ");
    host.wait_log("swap: aborted: generation 2 of app is taken back, 1 goes on: errors > 1%: ");
    let shown = host.ctl(["generations"]).stdout;
    assert!(shown.contains("generation 2 was taken back: errors > 1%: "), "{shown}");
    expect_states(&host, &[(1, "current"), (2, "aborted")]);
    let last = &status(&host)["last_swap"];
    assert_eq!((&last["outcome"], &last["trigger"]), (&json!("aborted"), &json!("canary")));
    let (answers, failed) = (visitors.stop(), failed_on_the_last_canary(&host));
    assert!(answers.failed() >= 2 && answers.failed() * 50 <= answers.all(), "{answers:?}");
    assert!(failed <= answers.failed(), "{failed} of {answers:?}");
    // What was taken back is nothing to go back to; and another version clears the table.
    host.ctl(["rollback"]).expect_code(1);
    app.put("version_b_p2");
    assert!(reload(&host).contains(says::SWAPPED));
    expect_states(&host, &[(1, "previous"), (3, "current")]);
}

#[test]
fn version_that_breaks_its_answers_off_is_taken_back() {
    let (_app, host) = version_a();
    let follower = begin(&host, "trap_late_p3");
    let mut conn = host.connect();
    while !follower.has_ended() {
        if conn.get("/").is_err() {
            conn = host.connect();
        }
    }
    expect(&follower.wait_exit(), 5, "errors > 1%: ");
}

/// Requests that the last canary has counted as failed.
fn failed_on_the_last_canary(host: &Host) -> u64 {
    let last = canaries(host).pop().expect("there was one");
    last["new"]["errors"].as_u64().expect("a number")
}

#[test]
fn operator_promotes_or_aborts_a_canary_by_hand() {
    let (_app, host) = version_a();
    let follower = begin(&host, "version_b_p2");
    expect_states(&host, &[(1, "current"), (2, "canary")]);
    let shown = host.ctl(["generations"]).stdout;
    assert!(shown.contains("canary 1%") && shown.contains("current 99%"), "{shown}");
    let shown = host.ctl(["canary"]).stdout;
    assert!(shown.contains("app: 2 at 1% (1/5)"), "{shown}");
    let done = host.ctl(["canary", "promote"]);
    expect(&done, 0, "an operator has promoted it");
    follower.wait_exit().expect_code(0);
    assert_eq!(version(&host.get("/")), "b");
    expect_states(&host, &[(1, "previous"), (2, "current")]);

    // Back, by each of the two words.
    for word in [&["canary", "abort"][..], &["rollback"]] {
        let follower = begin(&host, "trap_p2");
        expect(&host.ctl(word), 0, "an operator has taken it back");
        expect(&follower.wait_exit(), 5, "an operator has taken it back");
        assert_eq!(version(&host.get("/")), "b");
    }
    for word in [["canary", "abort"], ["canary", "promote"]] {
        expect(&host.ctl(word), 1, "no canary of app is under way");
    }
    // The version before the first canary is still there.
    host.ctl(["rollback"]).expect_code(0);
    assert_eq!(version(&host.get("/")), "a");
}

#[test]
fn another_swap_replaces_a_canary() {
    let (_app, host) = version_a();
    let first = begin(&host, "trap_p2");
    let second = begin(&host, "trap_p3");
    expect(&first.wait_exit(), 5, "another change has replaced it");
    expect_states(&host, &[(1, "current"), (3, "canary")]);
    let path = guest("version_b_p2");
    host.ctl(["swap", text(&path)]).expect_code(0);
    second.wait_exit().expect_code(5);
    expect_states(&host, &[(1, "previous"), (4, "current")]);

    // The version that serves, asked for again, takes the canary back.
    let third = begin(&host, "trap_p2");
    expect(&host.ctl(["swap", text(&path)]), 0, "unchanged: generation 4");
    expect(&third.wait_exit(), 5, "was asked for again");

    // The version of the canary, asked for without one, is promoted.
    let fourth = begin(&host, "version_a_p3");
    let path = guest("version_a_p3");
    expect(&host.ctl(["swap", text(&path)]), 0, "promoted: generation 6");
    fourth.wait_exit().expect_code(0);
    assert_eq!(version(&host.get("/")), "a");
}

#[test]
fn stop_takes_a_canary_back() {
    let (_app, host) = version_a();
    let follower = begin(&host, "version_b_p2");
    host.signal(Signal::TERM);
    expect(&follower.wait_exit(), 5, "the host is stopping");
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// Two draws would have come together every hundredth time.
#[test]
fn share_is_exact_and_sticks_to_who_has_come_to_the_new_version() {
    let (app, host) = version_a();
    drop(host);
    let host = app.serve().control().args(["--threads", "1"]).start();
    drop(begin(&host, "version_b_p2"));
    let mut conn = host.connect();
    let came = (0..1000).filter(|_| version(&conn.get("/").unwrap()) == "b").count();
    assert!((8..=12).contains(&came), "{came} of 1000 at 1%");

    let sticky = |how| {
        let path = guest("version_b_p3");
        let args = ["swap", text(&path), "--sticky", how];
        host.ctl(args.into_iter().chain(STAYS)).expect_code(0);
    };
    sticky("header:x-user");
    let user = |conn: &mut Conn, user: usize| {
        conn.send(format!("GET / HTTP/1.1\r\nHost: t\r\nX-User: {user}\r\n\r\n")).unwrap();
        version(&conn.read_response("GET").unwrap())
    };
    let came: Vec<usize> = (0..1000).filter(|number| user(&mut conn, *number) == "b").collect();
    assert!((1..40).contains(&came.len()), "{} of 1000 users at 1%", came.len());
    for number in came {
        assert_eq!(user(&mut host.connect(), number), "b", "user {number} comes back");
    }
    sticky("connection");
    let came = (0..400).filter(|_| {
        let mut conn = host.connect();
        let first = version(&conn.get("/").unwrap());
        for _ in 0..3 {
            assert_eq!(version(&conn.get("/").unwrap()), first, "it stays with one version");
        }
        first == "b"
    });
    assert!((0..30).contains(&came.count()));
    for _ in 0..100 {
        let mut h2 = H2::connect(host.addr());
        let mut versions = [1, 3, 5].map(|stream| {
            h2.get(stream, "/");
            version_h2(&h2.expect_answer(stream))
        });
        versions.sort_unstable();
        assert_eq!(versions.first(), versions.last(), "it stays with one version");
    }
}

#[test]
fn lame_duck_by_hand_changes_nothing_of_a_canary() {
    let (_app, host) = version_a();
    let follower = begin(&host, "version_b_p2");
    for command in ["drain", "undrain"] {
        host.ctl([command]).expect_code(0);
        expect_states(&host, &[(1, "current"), (2, "canary")]);
        assert_eq!(version(&host.get("/")), "a");
    }
    host.ctl(["canary", "promote"]).expect_code(0);
    follower.wait_exit().expect_code(0);
}

#[test]
fn lines_of_a_followed_swap_are_json_on_demand() {
    let (_app, host) = version_a();
    let path = guest("version_b_p2");
    let swap = ["--json", "swap", text(&path), "--wait"];
    let follower = host.start_ctl(swap.into_iter().chain(STAYS));
    wait_canaries(&host, |list| list.len() == 1);
    host.ctl(["canary", "promote"]).expect_code(0);
    let done = follower.wait_exit();
    done.expect_code(0);
    let lines: Vec<Value> =
        done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["outcome"], "canary");
    assert_eq!(lines.last().unwrap()["end"]["promoted"], true, "{lines:?}");
}

#[test]
fn open_breaker_of_a_canary_sends_its_requests_to_the_version_before() {
    let breaker = "[component.shop.breaker]\nfailures = 1\npause = \"10h\"\n";
    let (site, host, _) = shop("share = \"50%\"\nabort-if = \"never\"\nfor = \"10h\"", breaker);
    site.put("shop.wasm", "trap_p2");
    let follower = host.start_ctl(["reload", "--wait"]);
    wait_canaries(&host, |list| list.len() == 1);
    let mut conn = host.connect();
    let mut told = Vec::new();
    while !follower.has_ended() {
        told.push(conn.get("/").unwrap().status());
    }
    expect(&follower.wait_exit(), 5, "its breaker opened");
    let failed: Vec<u16> = told.into_iter().filter(|status| *status != 200).collect();
    assert_eq!(failed, [500], "one failure, and no request is refused for it");
}

/// Changes are carried out one after the other, and one may take its time.
#[test]
fn version_that_fails_gets_nothing_more_while_another_change_is_under_way() {
    let other = "[component.other]\nsource = \"guest:version_b_p3\"\n\
                 [component.other.limits]\nhook-timeout = \"10h\"\n";
    let (site, host, _) = shop(LONG, other);
    site.put("shop.wasm", "trap_p2");
    host.ctl(["reload"]).expect_code(0);
    // It spins in its hook on-start.
    let path = guest("start_spin_p2");
    let spins = host.start_ctl(["swap", text(&path), "--component", "other"]);
    // Two were at the start, one was the canary's.
    host.wait_log_nth("component compiled", 4);
    let mut conn = host.connect();
    let mut failed = 0;
    let ended = |list: &[Value]| list[0]["share"] == "0%";
    while !ended(&canaries(&host)) {
        failed += (0..100).filter(|_| conn.get("/").unwrap().status() == 500).count();
    }
    assert!(failed >= 2, "{failed}");
    assert!((0..500).all(|_| conn.get("/").unwrap().status() == 200));
    assert!(!spins.has_ended(), "it waits for its hook");
    assert_eq!(canaries(&host)[0]["end"], Value::Null);
    host.signal(Signal::TERM);
    spins.wait_exit().expect_code(1);
    host.wait_exit().expect_code(0);
}

/// At 1 % of the requests a version that hangs had all instances after a while, and nobody was served any more.
#[test]
fn version_that_hangs_leaves_half_of_the_instances_to_the_one_before() {
    let toml = "[component.app]\nsource = \"guest:version_a_p2\"\n\
                limits.instances = 4\nlimits.queue = 0\n\
                [[route]]\npath = \"/\"\ncomponent = \"app\"\n";
    let site = Site::new(toml);
    let host = site.serve().control().args(["--threads", "1"]).start();
    drop(begin(&host, "gate_p2"));
    let mut held = Vec::new();
    // Two come to it of the first 200, and would of each 200 after them.
    for _ in 0..600 {
        let mut conn = host.connect();
        conn.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(head.status, 200);
        if head.header("x-version").is_none() {
            held.push(conn);
        }
    }
    assert_eq!(held.len(), 2);
    // What leaves makes room.
    held.pop();
    let (mut conn, until) = (host.connect(), Instant::now() + PATIENCE);
    while conn.get("/head").unwrap().text() != "done\n" {
        assert!(Instant::now() < until, "it gets nothing any more");
    }
}

#[test]
fn plugin_of_a_chain_has_a_canary_of_its_own() {
    let toml = "[component.auth]\nsource = \"auth.wasm\"\n[component.auth.canary]\nfor = \"10h\"\n\
                [component.app]\nsource = \"guest:version_a_p2\"\n\
                [[route]]\npath = \"/\"\ncomponent = \"app\"\nchain = [\"auth\"]\n";
    let site = Site::with(toml, &[("auth.wasm", "pass_p2")]);
    let host = site.serve().control().start();
    let visitors = Visitors::of(&host, 4, Mode::H1Kept, None);
    site.put("auth.wasm", "trap_p2");
    expect(&host.ctl(["reload", "--wait"]), 5, "generation 3 of auth is taken back");
    let answers = visitors.stop();
    assert!(answers.failed() * 50 <= answers.all(), "{answers:?}");
    assert_eq!(version(&host.get("/")), "a");
}
