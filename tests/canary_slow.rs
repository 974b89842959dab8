//! A new version that answers, and takes its time: the rule `p99 > 2x` over the wire.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::app::{App, text, variant};
use crate::support::canary::{canaries, expect, expect_states};
use crate::support::exit::Exit;
use crate::support::prelude::*;
use crate::support::status::status;

/// Ends the clients of a test, also of one that fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// `host ctl SWAP` while so many clients ask for `path`: how it ended. A client whose request is lost, or answered by anything
/// but 200, fails the test.
#[track_caller]
fn swap_under_load(host: &Host, clients: usize, path: &str, swap: &[&str]) -> Exit {
    let (addr, stopped) = (host.addr(), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut conn = Conn::connect(addr).expect("the host listens");
                while !stopped.load(Ordering::SeqCst) {
                    assert_eq!(conn.get(path).expect("no request is lost").status(), 200);
                }
            });
        }
        let _stop = Stop(&stopped);
        host.ctl(swap)
    })
}

/// The version before does not look at `ms`. Each step but the first, which does not count, has time for several times
/// the requests that it takes.
#[test]
fn version_that_answers_but_slowly_is_taken_back_and_everybody_is_told_why() {
    let app = App::new("hello_p2");
    let host = app.serve().control().start();
    let new = guest("sleep_p2");
    let swap = ["swap", text(&new), "--canary", "5%", "--for", "20s", "--wait"];
    let done = swap_under_load(&host, 64, "/?ms=1000", &swap);
    expect(&done, 5, "aborted: generation 2 of app is taken back, 1 goes on: p99 > 2x: ");
    let line = host.wait_log("swap: aborted: generation 2 of app is taken back");
    let (_, why) = line.split_once("1 goes on: ").expect("a reason");
    let why = why.split(", of the version before ").next().expect("the first");
    println!("{why}");
    assert!(why.contains(" took longer than "), "{why}");
    for command in ["generations", "canary"] {
        let shown = host.ctl([command]).stdout;
        assert!(shown.contains(why), "{why} is not in {command}: {shown}");
    }
    expect_states(&host, &[(1, "current"), (2, "aborted")]);
    assert_eq!(status(&host)["last_swap"]["outcome"], "aborted");
    let canary = canaries(&host).pop().expect("there was one");
    assert_eq!(canary["new"]["errors"], 0, "{canary}");
    assert_eq!(host.get("/?ms=1000").text(), "hello world\n");
}

#[test]
fn version_that_is_as_slow_as_the_one_before_is_promoted() {
    let app = App::new("sleep_p2");
    let host = app.serve().control().start();
    let new = app.folder.join("new.wasm");
    fs::write(&new, variant("sleep_p2", 1)).expect("the folder takes files");
    let swap = ["swap", text(&new), "--canary", "5%", "--for", "2s", "--wait"];
    let done = swap_under_load(&host, 16, "/?ms=20", &swap);
    expect(&done, 0, "promoted: generation 2 of app serves in place of 1: nothing spoke against");
    expect_states(&host, &[(1, "previous"), (2, "current")]);
}
