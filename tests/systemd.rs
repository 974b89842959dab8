//! What a service manager is told, byte for byte: `NOTIFY_SOCKET` is the test's own.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use crate::support::binary::binary;
use crate::support::compiler::Compiler;
use crate::support::prelude::*;
use crate::support::process::Process;
use crate::support::service_manager::ServiceManager;
use crate::support::site::{Site, component};
use crate::support::stop::{Held, whole_log};

const SERVING: &str = "serving 1 component on 1 address";

fn told_by(serve: Serve) -> (ServiceManager, Serve) {
    let manager = ServiceManager::new();
    let serve = serve.env("NOTIFY_SOCKET", manager.name());
    (manager, serve)
}

#[track_caller]
fn expect_start(manager: &ServiceManager) {
    manager.expect("STATUS=loading 1 component");
    manager.expect(&format!("READY=1\nSTATUS={SERVING}"));
}

/// What systemd compares with the moment of its signal.
fn monotonic_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unwrap()
}

#[test]
fn start_reloads_swaps_and_stop_are_told() {
    let site = Site::with(&component("app"), &[("app.wasm", "version_a_p2")]);
    let (manager, serve) = told_by(site.serve().control());
    let host = serve.start();
    expect_start(&manager);
    let before = monotonic_micros();
    host.signal(Signal::HUP);
    let begun = manager
        .expect_change(&format!("{SERVING}; unchanged: what is served is what the manifest says"));
    assert!((before..monotonic_micros()).contains(&begun.number("MONOTONIC_USEC")));
    site.put("app.wasm", "version_b_p2");
    host.signal(Signal::HUP);
    manager.expect_change(&format!("{SERVING}; reloaded in T; changed: app"));
    let other = guest("version_a_p3");
    host.ctl(["swap", other.to_str().unwrap()]).expect_code(0);
    manager.expect_change(&format!("{SERVING}; swapped from generation 2 to 3 in T"));
    host.ctl(["rollback"]).expect_code(0);
    manager.expect_change(&format!("{SERVING}; swapped from generation 3 to 4 in T"));
    host.signal(Signal::TERM);
    let told =
        manager.expect("STOPPING=1\nEXTEND_TIMEOUT_USEC=N\nSTATUS=draining: nothing in flight");
    // 25 s for the drain, and 5 s for the rest.
    assert!(told.number("EXTEND_TIMEOUT_USEC") <= 30_000_000, "{told:?}");
    manager.expect("STATUS=stopped in T: 0 exchanges finished, 0 cut, 0 connections dropped");
    host.wait_exit().expect_code(0);
}

/// `systemctl reload` waited until its time was over.
#[test]
fn refused_reload_is_told_with_its_reason_and_the_service_is_ready_again() {
    let site = Site::with(&component("app"), &[("app.wasm", "hello_p2")]);
    let (manager, serve) = told_by(site.serve());
    let host = serve.start();
    expect_start(&manager);
    site.write("[component.app]\nsource = 7\nspeed = \"much\"\n");
    host.signal(Signal::HUP);
    manager.expect("RELOADING=1\nMONOTONIC_USEC=N\nSTATUS=changing what is served");
    let told = manager.next().text;
    // In one line, although the reasons have several.
    let reason = told.strip_prefix(&format!("READY=1\nSTATUS={SERVING}; rejected at step "));
    let reason = reason.unwrap_or_else(|| panic!("{told}"));
    assert!(reason.contains("host.toml:2") && !reason.contains('\n'), "{reason}");
    assert_eq!(host.get("/").status(), 200);
}

#[test]
fn what_is_left_of_a_stop_is_told_and_time_is_asked_for_while_it_lasts() {
    let (manager, serve) = told_by(Host::serve("gate_p2").args(["--drain-timeout", "8s"]));
    let host = serve.start();
    expect_start(&manager);
    let held = Held::on(&host);
    host.signal(Signal::TERM);
    let left = "draining: 1 exchange, 1 connection";
    let told = manager.expect(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC=N\nSTATUS={left}"));
    let first = told.number("EXTEND_TIMEOUT_USEC");
    assert!((8_000_000..=13_000_000).contains(&first), "until its deadline, and 5 s: {told:?}");
    // It is the same deadline.
    let told = manager.expect(&format!("EXTEND_TIMEOUT_USEC=N\nSTATUS={left}"));
    assert!(told.number("EXTEND_TIMEOUT_USEC") < first, "{told:?}");
    held.open().expect_fin();
    let last = loop {
        let told = manager.next().text;
        if !told.contains("STATUS=draining: ") {
            break told;
        }
    };
    assert!(
        last.starts_with("STATUS=stopped in ") && last.contains(": 1 exchange finished"),
        "{last}"
    );
    host.wait_exit().expect_code(0);
}

#[test]
fn lame_duck_by_hand_is_a_status_and_no_stop() {
    let (manager, serve) = told_by(Host::serve("hello_p2").control());
    let host = serve.start();
    expect_start(&manager);
    host.ctl(["drain"]).expect_code(0);
    manager.expect("STATUS=out of service by hand, still accepting: nothing in flight");
    host.ctl(["undrain"]).expect_code(0);
    manager.expect(&format!("STATUS={SERVING}"));
}

#[test]
fn stop_with_a_delay_says_that_it_still_accepts() {
    let (manager, serve) = told_by(Host::serve("hello_p2").args(["--drain-delay", "100ms"]));
    let host = serve.start();
    expect_start(&manager);
    host.signal(Signal::TERM);
    manager.expect(
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=N\nSTATUS=stopping, still accepting: nothing in flight",
    );
    manager.expect("STATUS=draining: nothing in flight");
    host.wait_exit().expect_code(0);
}

#[test]
fn start_that_fails_says_why_and_is_never_ready() {
    let (manager, serve) = told_by(Host::serve("start_error_p2"));
    let exit = serve.start_in_vain();
    exit.expect_code(3);
    manager.expect("STATUS=loading 1 component");
    let told = manager.next().text;
    assert!(told.starts_with("STATUS=host: cannot start: "), "{told}");
}

/// The lifecycle's thread beats beside them, and a task among them shows that the workers live.
#[test]
fn signs_of_life_are_given_while_guests_spin_on_every_core() {
    let flags = ["--threads", "2", "--cpu-time", "10m"];
    let (manager, serve) = told_by(Host::serve("busy_p2").args(flags));
    let host = serve.env("WATCHDOG_USEC", "4000000").start();
    expect_start(&manager);
    let mut spinning = Vec::new();
    for number in 1..=4 {
        let mut conn = host.connect();
        conn.send("GET /spin HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        host.wait_log_nth(says::SPINNING, number.min(2));
        spinning.push(conn);
    }
    for _ in 0..3 {
        manager.expect("WATCHDOG=1");
    }
}

/// It is a child of the service's main process.
#[test]
fn no_sign_of_life_is_given_that_is_asked_of_another_process() {
    let (manager, serve) = told_by(Host::serve("hello_p2"));
    let host = serve.env("WATCHDOG_USEC", "1000000").env("WATCHDOG_PID", "1").start();
    expect_start(&manager);
    let log = whole_log(host);
    assert!(!log.contains("signs of life"), "{log}");
}

#[test]
fn abstract_notify_socket_is_told() {
    let manager = ServiceManager::abstract_name();
    let host = Host::serve("hello_p2").env("NOTIFY_SOCKET", manager.name()).start();
    expect_start(&manager);
    drop(host);
}

#[test]
fn neither_start_nor_stop_waits_for_a_service_manager_that_does_not_read() {
    let manager = ServiceManager::new();
    manager.fill();
    let host = Host::serve("hello_p2").env("NOTIFY_SOCKET", manager.name()).start();
    assert_eq!(host.get("/").status(), 200);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    // One that is gone, and one that is of another kind.
    let gone = ServiceManager::new();
    let name = gone.name().to_owned();
    drop(gone);
    for name in [name, "vsock:2:1234".into()] {
        let host = Host::serve("hello_p2").env("NOTIFY_SOCKET", name).start();
        host.wait_log("the service manager");
        host.signal(Signal::TERM);
        host.wait_exit().expect_code(0);
    }
}

#[test]
fn process_that_compiles_does_not_know_the_service_manager() {
    let (manager, serve) = told_by(Host::serve("hello_p2").control().args(["--no-cache"]));
    let host = serve.start();
    expect_start(&manager);
    let other = guest("echo_p2");
    let swap = host.start_ctl(["swap", other.to_str().unwrap()]);
    manager.expect("RELOADING=1\nMONOTONIC_USEC=N\nSTATUS=changing what is served");
    let compiler = Compiler::stopped(host.pid());
    let environment = compiler.proc("environ").expect("it is a child of ours");
    assert!(!environment.contains("NOTIFY_SOCKET"), "{environment}");
    compiler.signal(Signal::CONT);
    swap.wait_exit().expect_code(0);
    manager.expect(&format!("READY=1\nSTATUS={SERVING}; swapped from generation 1 to 2 in T"));
}

/// A start took longer than `TimeoutStartSec=`, and systemd ended it.
#[test]
fn time_is_asked_for_while_a_start_goes_on_and_its_end_is_told() {
    let manager = ServiceManager::new();
    let mut command = binary();
    command.arg("serve").arg(guest("start_spin_p2")).env("NOTIFY_SOCKET", manager.name());
    command.args(["--addr", "127.0.0.1:0", "--control", "off", "--hook-timeout", "1m"]);
    let process = Process::spawn(&mut command);
    manager.expect("STATUS=loading 1 component");
    let told = manager.expect("EXTEND_TIMEOUT_USEC=N");
    assert_eq!(told.number("EXTEND_TIMEOUT_USEC"), 30_000_000);
    process.signal(Signal::TERM);
    manager.expect("STOPPING=1\nSTATUS=stopped before it was ready");
    assert_eq!(process.wait(Instant::now() + PATIENCE), Some(0));
}
