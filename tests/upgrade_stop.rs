//! A stop that comes while two processes are the host: it is one of both, and asked once.

use std::net::TcpListener;

use rustix::process::{Pid, kill_process};

use crate::support::prelude::*;
use crate::support::service_manager::ServiceManager;
use crate::support::site::{Site, component, route};
use crate::support::stop::Held;
use crate::support::upgrade::{Successor, stand_still, standing_still_at, status_of};

const OF_BOTH: &str = "upgrade: the stop that was asked for is one of the new process too";
const WAITS: &str = "upgrade: nothing is in flight here; waits for the new process to end";

/// The process that the log names as the new one.
fn successor(host: &Host) -> Successor {
    let line = host.wait_log("upgrade: a new process starts");
    Successor::new(line.rsplit("pid=").next().unwrap().trim().parse().unwrap())
}

/// The first answer of the two to be whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Old,
    New,
}

/// With `KillMode=mixed` systemd kills what is left when the main process ends. Which of the two that is depends on its
/// version, if the stop came first: before 254 it hears nothing of a new one then.
fn stopped_with_an_answer_at_each(first: First, signal_both: bool) {
    let (host, told) = standing_still_at("gate_p2", "old-done");
    let old = Held::on(&host);
    let upgrade = host.start_ctl(["upgrade"]);
    assert_eq!(told.wait(), host.pid());
    let (predecessor, successor) = (Successor::new(host.pid()), successor(&host));
    // Nobody else accepts.
    let new = Held::on(&host);
    if signal_both {
        successor.signal(Signal::TERM);
        host.wait_log("stop: asked");
    }
    host.signal(Signal::TERM);
    host.signal(Signal::CONT);
    host.wait_log(OF_BOTH);
    host.wait_log_nth("stop: door closed, draining", 2);
    match first {
        First::Old => {
            old.open();
            host.wait_log(WAITS);
            assert!(!predecessor.has_ended() && !successor.has_ended());
            new.open();
            predecessor.wait_end();
            assert!(successor.has_ended(), "the old process has waited until it was gone");
        }
        First::New => {
            // It closes behind the answer: nothing is in flight there.
            new.open().expect_fin();
            assert!(!predecessor.has_ended() && !successor.has_ended());
            old.open();
            host.wait_log(WAITS);
        }
    }
    upgrade.wait_exit().expect_code(0);
    successor.wait_end();
    let exit = host.wait_exit();
    exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
    let place = |text: &str| exit.stderr.find(text).unwrap_or_else(|| panic!("no {text:?}"));
    assert!(place(WAITS) < place("stop: drained"), "neither has ended before: {}", exit.stderr);
    assert!(!exit.stderr.contains("cutting"), "{}", exit.stderr);
}

#[test]
fn stop_in_the_middle_waits_for_the_new_process() {
    stopped_with_an_answer_at_each(First::Old, false);
}

#[test]
fn stop_in_the_middle_waits_for_the_old_process() {
    stopped_with_an_answer_at_each(First::New, false);
}

/// Ctrl-C, or a supervisor that signals the group: each of the two is asked, and the old one asks the new one again.
#[test]
fn stop_of_the_group_in_the_middle_is_one_stop() {
    stopped_with_an_answer_at_each(First::Old, true);
}

/// systemd has asked for a stop before it reads that there is another main process.
#[test]
fn stop_that_crosses_the_new_main_process_is_one_of_both() {
    let manager = ServiceManager::new();
    let host = Host::serve("hello_p2").env("NOTIFY_SOCKET", manager.name()).control().start();
    manager.expect("STATUS=loading 1 component");
    manager.expect("READY=1\nSTATUS=serving 1 component on 1 address");
    let upgrade = host.start_ctl(["upgrade"]);
    let told = manager.next();
    let successor = Successor::new(u32::try_from(told.number("MAINPID")).unwrap());
    host.signal(Signal::TERM);
    host.wait_log("stop: asked");
    // Its descriptor is closed with it.
    manager.expect("BARRIER=1");
    host.wait_log(OF_BOTH);
    upgrade.wait_exit().expect_code(0);
    successor.wait_end();
    host.wait_exit().expect_code(0);
}

/// The old process alone has it, and accepts there until the delay is over.
#[test]
fn listener_that_the_new_process_lacks_is_drained_before_the_old_one_is_done() {
    let lost = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).unwrap();
    let listener = |address: &str| format!("[[listener]]\naddress = {address:?}\n");
    let rest =
        "[stop]\ndrain-delay = \"300ms\"\n".to_owned() + &component("app") + &route("/", "app");
    let both = listener("127.0.0.1:0") + &listener(&lost.to_string()) + &rest;
    let site = Site::with(&both, &[("app.wasm", "hello_p2")]);
    site.put_text("less.toml", &(listener("127.0.0.1:0") + &rest));
    let (host, told) = stand_still(site.serve().no_tcp(), "old-done");
    let upgrade = host.start_ctl(["upgrade", "--config", &site.file("less.toml")]);
    told.wait();
    host.signal(Signal::TERM);
    host.signal(Signal::CONT);
    upgrade.wait_exit().expect_code(0);
    let exit = host.wait_exit();
    exit.expect_code(0);
    let place = |text: &str| exit.stderr.find(text).unwrap_or_else(|| panic!("no {text:?}"));
    assert!(place("stop: door closed, draining") < place(WAITS), "{}", exit.stderr);
}

#[test]
fn cut_behind_the_stop_is_one_of_both() {
    let (host, told) = standing_still_at("gate_p2", "old-done");
    let upgrade = host.start_ctl(["upgrade"]);
    told.wait();
    let successor = successor(&host);
    let new = Held::on(&host);
    host.signal(Signal::TERM);
    host.signal(Signal::CONT);
    host.wait_log(WAITS);
    host.signal(Signal::QUIT);
    successor.wait_end();
    upgrade.wait_exit();
    host.wait_exit().expect_code(131);
    let (mut conn, head) = new.into_conn();
    conn.read_body(&head, "POST").unwrap_err();
}

/// `systemctl kill -s HUP` means every process of the unit, and Ctrl-C every process of the group.
#[test]
fn signal_to_all_processes_leaves_the_one_between_the_two() {
    let (host, told) = standing_still_at("hello_p2", "new-loaded");
    let upgrade = host.start_ctl(["upgrade"]);
    let successor = Successor::new(told.wait());
    let launcher: u32 = status_of(successor.pid(), "PPid").parse().unwrap();
    let blocked = u64::from_str_radix(&status_of(launcher, "SigBlk"), 16).unwrap();
    let launcher = Pid::from_raw(launcher.try_into().unwrap()).unwrap();
    for signal in [Signal::HUP, Signal::INT, Signal::USR1, Signal::USR2, Signal::TERM] {
        assert!(blocked >> (signal.as_raw() - 1) & 1 == 1, "{signal:?} ends it: {blocked:x}");
        kill_process(launcher, signal).unwrap();
    }
    // It stands still and does not hear that it is to end.
    host.signal(Signal::TERM);
    upgrade.wait_exit().expect_code(1);
    assert!(successor.has_ended(), "the old process has waited until it was gone");
    host.wait_exit().expect_code(0);
}
