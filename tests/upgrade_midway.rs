//! What is asked of a host, or befalls it, in the middle of an upgrade.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::app::version;
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};
use crate::support::upgrade::{Successor, stand_still, standing_still_at};

/// The new process would be in service at once.
#[test]
fn host_that_is_taken_out_of_service_meanwhile_is_not_upgraded() {
    let (host, told) = standing_still_at("hello_p2", "new-loaded");
    let upgrade = host.start_ctl(["upgrade"]);
    let successor = Successor::new(told.wait());
    host.ctl(["drain"]).expect_code(0);
    successor.signal(Signal::CONT);
    let exit = upgrade.wait_exit();
    exit.expect_code(1);
    assert!(exit.stderr.contains("host ctl undrain"), "{}", exit.stderr);
    successor.wait_end();
    assert_eq!(host.get("/").status(), 200);
}

/// The old one may still take the listeners back: nobody shuts them before.
#[test]
fn successor_that_is_stopped_before_the_other_has_left_serves_until_then() {
    let (host, told) = standing_still_at("hello_p2", "old-accepting");
    let upgrade = host.start_ctl(["upgrade"]);
    assert_eq!(told.wait(), host.pid());
    let line = host.wait_log("upgrade: a new process starts");
    let pid = line.rsplit("pid=").next().unwrap().trim().parse().unwrap();
    let successor = Successor::new(pid);
    successor.signal(Signal::TERM);
    host.wait_log("stop: closing the door");
    for _ in 0..3 {
        assert_eq!(host.get("/").status(), 200);
    }
    host.signal(Signal::CONT);
    upgrade.wait_exit().expect_code(0);
    successor.wait_end();
    host.wait_exit().expect_code(0);
}

#[test]
fn cut_in_the_middle_ends_both() {
    let (host, told) = standing_still_at("hello_p2", "new-yours");
    let upgrade = host.start_ctl(["upgrade"]);
    let successor = Successor::new(told.wait());
    host.signal(Signal::QUIT);
    successor.wait_end();
    upgrade.wait_exit();
    host.wait_exit().expect_code(131);
}

#[test]
fn what_is_reloaded_meanwhile_is_served_afterwards() {
    let manifest = component("app") + &route("/", "app");
    let site = Site::with(&manifest, &[("app.wasm", "version_a_p2")]);
    let (host, told) = stand_still(site.serve(), "new-loaded");
    let upgrade = host.start_ctl(["upgrade"]);
    let successor = Successor::new(told.wait());
    site.put("app.wasm", "version_b_p2");
    host.ctl(["reload"]).expect_code(0);
    assert_eq!(version(&host.get("/")), "b");
    let before = host.mark();
    successor.signal(Signal::CONT);
    upgrade.wait_exit().expect_code(0);
    host.wait_log_after(before, "the new process reads its files again");
    host.wait_log_after(before, "swap: reloaded in");
    assert_eq!(version(&host.get("/")), "b");
}

/// Where memory runs out, the kernel is to kill the one that nobody misses.
#[test]
fn successor_is_the_first_to_be_killed_until_it_serves() {
    let (host, told) = standing_still_at("hello_p2", "new-loaded");
    let upgrade = host.start_ctl(["upgrade"]);
    let successor = Successor::new(told.wait());
    let adjustment = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        text.trim().parse::<i32>().unwrap()
    };
    let as_ever = adjustment(host.pid());
    assert_eq!(adjustment(successor.pid()), 1000);
    successor.signal(Signal::CONT);
    upgrade.wait_exit().expect_code(0);
    assert_eq!(adjustment(successor.pid()), as_ever);
}

/// What finds no descriptor stays with the old one, which drains. The upgrade goes on, and so does what comes later.
#[test]
fn successor_without_descriptors_leaves_what_comes_over_and_serves() {
    let serve = Host::serve("hello_p2").args(["--linger", "30s"]);
    let (host, told) = stand_still(serve, "new-accepting");
    let mut idle = host.connect();
    assert_eq!(idle.get("/").unwrap().status(), 200);
    let upgrade = host.start_ctl(["upgrade"]);
    let successor = Successor::new(told.wait());
    let pid = i32::try_from(successor.pid()).ok().and_then(Pid::from_raw);
    let few = Rlimit { current: Some(3), maximum: Some(20_000) };
    let before = prlimit(pid, Resource::Nofile, few).unwrap();
    successor.signal(Signal::CONT);
    host.wait_log("connections of the old host cannot be taken");
    prlimit(pid, Resource::Nofile, before).unwrap();
    upgrade.wait_exit().expect_code(0);
    assert_eq!(host.get("/").status(), 200);
    assert!(!host.log().contains("upgrade: the old host has ended"), "it has a connection still");
    let answer = idle.get("/").unwrap();
    assert_eq!((answer.status(), answer.head.says_close()), (200, true));
    host.wait_log("upgrade: the old host has ended");
    assert_eq!(host.get("/").status(), 200);
}
