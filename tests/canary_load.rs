//! The claims for canaries under load: none loses a request, and a version that fails is gone before it has failed many.
//!
//! Each test makes a few; `HOST_SOAK_CANARIES` makes it as many as wanted: `make soak` a hundred.

use std::env;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::app::{App, text, variant};
use crate::support::load::Load;
use crate::support::prelude::*;
use crate::support::status::ctl_json;
use crate::support::visitors::Visitors;

/// How many canaries each test makes.
fn canaries_per_test() -> usize {
    match env::var("HOST_SOAK_CANARIES") {
        Ok(canaries) => canaries.parse().expect("HOST_SOAK_CANARIES is a number"),
        Err(_) => 4,
    }
}

/// Canaries in turn to the other version, some of which an operator takes back, while clients in `mode` ask: a client
/// whose request is lost panics.
#[track_caller]
fn lose_nothing(guests: [&str; 2], mode: Mode) {
    let app = App::new(guests[0]);
    let host = app.serve().control().start();
    let visitors = Visitors::of(&host, 16, mode, None);
    let (mut serves, canaries) = (0, canaries_per_test());
    for number in 0..canaries {
        let path = guest(guests[1 - serves]);
        let swap = ["swap", text(&path), "--canary", "50%", "--abort-if", "never", "--wait"];
        if number % 4 == 3 {
            let follower = host.start_ctl(swap.into_iter().chain(["--for", "10h"]));
            let answered = visitors.answers.all();
            while visitors.answers.all() < answered + 500 {
                thread::yield_now();
            }
            // It may have to be loaded yet.
            while host.ctl(["canary", "abort"]).code != 0 {}
            follower.wait_exit().expect_code(5);
        } else {
            host.ctl(swap.into_iter().chain(["--for", "1s"])).expect_code(0);
            serves = 1 - serves;
        }
    }
    let answers = visitors.stop();
    assert_eq!(answers.failed(), 0);
    println!("{guests:?} {mode:?}: {canaries} canaries, {} answers, 0 lost", answers.all());
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

#[test]
fn canaries_under_load_lose_nothing_h1_kept() {
    lose_nothing(["version_a_p2", "version_b_p2"], Mode::H1Kept);
}

#[test]
fn canaries_under_load_lose_nothing_h1_fresh() {
    lose_nothing(["version_a_p2", "version_b_p3"], Mode::H1Fresh);
}

#[test]
fn canaries_under_load_lose_nothing_h2_kept() {
    lose_nothing(["version_a_p3", "version_b_p3"], Mode::H2Kept);
}

#[test]
fn canaries_under_load_lose_nothing_h2_fresh() {
    lose_nothing(["version_a_p3", "version_b_p2"], Mode::H2Fresh);
}

/// A stop in the middle: clients that follow the RFCs get all of their answers, of whichever version.
#[test]
fn stop_in_the_middle_of_a_canary_loses_nothing() {
    for mode in [Mode::H1Kept, Mode::H1Fresh, Mode::H2Kept, Mode::H2Fresh] {
        let app = App::new("sleep_p2");
        let new = app.folder.join("new.wasm");
        fs::write(&new, variant("sleep_p2", 1)).expect("the folder takes files");
        let host = app.serve().control().args(["--drain-timeout", "10s"]).start();
        let load = Load::new(host.addr(), "/?ms=5");
        let (ledger, exit) = load.drive(mode, 16, move || {
            let swap = ["swap", text(&new), "--canary", "50%", "--for", "10h"];
            host.ctl(swap).expect_code(0);
            let seen = |list: &Value| list["canaries"][0]["new"]["requests"].as_u64() >= Some(5);
            while !seen(&ctl_json(&host, "canary")) {}
            host.signal(Signal::TERM);
            host.wait_exit()
        });
        println!("{mode:?}: {ledger}");
        ledger.assert_nothing_lost();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        assert!(exit.stderr.contains("swap: aborted: generation 2"), "{}", exit.stderr);
    }
}

/// At 200 requests a second, if the machine lets the clients ask as often. The time is measured and printed, and decides
/// nothing.
#[test]
fn version_that_fails_each_request_is_gone_before_it_has_failed_two_in_a_hundred() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().start();
    let pause = Duration::from_millis(40);
    // Eight clients, 25 requests a second each.
    let visitors = Visitors::of(&host, 8, Mode::H1Kept, Some(pause));
    let path = guest("trap_p2");
    for _ in 0..canaries_per_test().div_ceil(4) {
        let (all, failed) = (visitors.answers.all(), visitors.answers.failed());
        let began = Instant::now();
        let done = host.ctl(["swap", text(&path), "--canary", "5%", "--wait"]);
        done.expect_code(5);
        let took = began.elapsed();
        let all = visitors.answers.all() - all;
        let failed = visitors.answers.failed() - failed;
        println!("taken back after {took:.2?}: {failed} of {all} requests failed");
        assert!(failed >= 2, "it was not judged by its requests");
        assert!(failed * 50 <= all, "{failed} of {all} are more than two in a hundred");
    }
    drop(visitors.stop());
}
