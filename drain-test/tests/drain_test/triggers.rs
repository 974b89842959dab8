//! What stops a server: a signal, a command, and the end of a child.

use std::process::id;
use std::time::Duration;

use crate::support::{SHORT, Server, Stopping, plan};
use host_drain_test::{ClientKind, DrainReport, Plan, StopTrigger, run};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

const KINDS: [ClientKind; 2] = [ClientKind::H1Kept, ClientKind::H1Upload];

/// Tests a server in this process that stops with this signal.
async fn stopped_by(kind: SignalKind, trigger: StopTrigger, returns: bool) -> DrainReport {
    let mut signals = signal(kind).unwrap();
    let server = Server::start(Stopping::Rightly).await;
    let stop = server.stop.clone();
    let listening = tokio::spawn(async move {
        signals.recv().await;
        stop.send_replace(true);
    });
    let mut plan = plan(server.address, "http", trigger, &KINDS);
    plan.ready = Duration::ZERO;
    plan.returns = returns;
    let report = run(plan).await.unwrap();
    listening.await.unwrap();
    report
}

#[tokio::test]
async fn signal_stops_a_process() {
    let trigger = StopTrigger::signal(&format!("{}:USR1", id())).unwrap();
    let report = stopped_by(SignalKind::user_defined1(), trigger, true).await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn command_stops_a_server_and_its_exit_is_told() {
    let trigger = StopTrigger::Exec(format!("kill -USR2 {}", id()));
    let report = stopped_by(SignalKind::user_defined2(), trigger, false).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.stops.first().unwrap().exit.as_deref(), Some("exit status: 0"));
}

#[tokio::test]
async fn command_that_fails_is_trouble_and_what_was_measured_is_told() {
    let server = Server::start(Stopping::NotAtAll).await;
    let mut plan = plan(server.address, "http", StopTrigger::Exec("exit 3".to_owned()), &KINDS);
    plan.after = Duration::ZERO;
    let report = run(plan).await.unwrap();
    assert!(report.trouble.as_ref().unwrap().contains("exit status: 3"), "{report}");
    assert!(report.total().answered.sum() >= 6 && !report.is_clean(), "{report}");
}

/// A server that was down for good was once good news.
#[tokio::test]
async fn server_that_does_not_come_back_after_a_command_is_trouble() {
    let trigger = StopTrigger::Exec(format!("kill -WINCH {}", id()));
    let report = stopped_by(SignalKind::window_change(), trigger, true).await;
    let trouble = report.trouble.as_deref().unwrap();
    assert!(trouble.starts_with("stop 1: the server did not come back"), "{trouble}");
    assert!(trouble.contains("Connection refused"), "{trouble}");
    assert_eq!((report.total().lost_in_all(), report.stops.len()), (0, 1), "{report}");
}

#[tokio::test]
async fn server_that_accepts_and_only_fails_after_a_command_has_not_come_back() {
    let mut io = signal(SignalKind::io()).unwrap();
    let server = Server::start(Stopping::Fails).await;
    let trigger = StopTrigger::Exec(format!("kill -IO {}", id()));
    let mut plan = plan(server.address, "http", trigger, &KINDS);
    (plan.ready, plan.after) = (Duration::ZERO, Duration::ZERO);
    plan.patience = SHORT;
    let stop = server.stop.clone();
    let listening = tokio::spawn(async move {
        io.recv().await;
        stop.send_replace(true);
    });
    let report = run(plan).await.unwrap();
    listening.await.unwrap();
    let trouble = report.trouble.unwrap();
    assert!(trouble.ends_with("did not come back after the command: 5xx: status 503"), "{trouble}");
}

#[tokio::test]
async fn server_that_has_come_back_after_a_command_is_clean() {
    let server = Server::start(Stopping::NotAtAll).await;
    let mut plan = plan(server.address, "http", StopTrigger::Exec("true".to_owned()), &KINDS);
    (plan.ready, plan.after, plan.stops) = (Duration::ZERO, Duration::ZERO, 2);
    let report = run(plan).await.unwrap();
    assert!(report.is_clean(), "{report}");
}

/// It was once clean: only the words on its exit said it.
#[tokio::test]
async fn child_that_does_not_end_is_killed_and_trouble() {
    let mut plan = of_a_child("triggers::child_that_serves").await;
    // It is deaf to this one.
    plan.spawn_signal = Signal::WINCH;
    (plan.after, plan.patience) = (Duration::ZERO, SHORT);
    let report = run(plan).await.unwrap();
    let trouble = report.trouble.as_deref().unwrap();
    assert!(trouble.starts_with("stop 1: the server: killed, it did not end in"), "{trouble}");
    // The next one is a new one.
    assert!(report.stops.len() == 2 && report.stops.iter().all(|stop| stop.killed), "{report}");
}

/// The server of a wrapper that keeps the signal for itself was once left running, after a clean test.
#[tokio::test]
async fn server_that_its_wrapper_leaves_behind_is_trouble_and_killed() {
    let mut plan = of_a_child("triggers::child_that_serves").await;
    wrap(&mut plan, "\"$@\" & wait");
    (plan.after, plan.patience) = (Duration::ZERO, SHORT);
    let url = plan.url.clone();
    let report = run(plan).await.unwrap();
    let trouble = report.trouble.unwrap();
    assert!(trouble.contains("left processes behind, which were killed: drain_test"), "{trouble}");
    nobody_accepts(&url).await;
}

#[tokio::test]
async fn wrapper_that_hands_the_signal_on_and_does_not_wait_is_clean() {
    let mut plan = of_a_child("triggers::child_that_serves").await;
    wrap(&mut plan, "trap 'kill $server; exit 0' TERM; \"$@\" & server=$!; wait");
    let report = run(plan).await.unwrap();
    assert!(report.is_clean() && report.stops.len() == 2, "{report}");
}

#[tokio::test]
async fn server_that_goes_into_the_background_is_trouble_and_killed() {
    let mut plan = of_a_child("triggers::child_that_serves").await;
    wrap(&mut plan, "\"$@\" &");
    let url = plan.url.clone();
    let trouble = run(plan).await.unwrap().trouble.unwrap();
    assert!(trouble.contains("has ended before"), "{trouble}");
    nobody_accepts(&url).await;
}

/// Has the server be started by this script of sh.
fn wrap(plan: &mut Plan, script: &str) {
    let StopTrigger::Spawn(command) = &mut plan.trigger else { return };
    let sh = ["sh", "-c", script, "sh"].map(str::to_owned);
    command.splice(0..0, sh);
}

/// Waits until the server is gone.
async fn nobody_accepts(url: &str) {
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let gone = async { while TcpStream::connect(&address).await.is_ok() {} };
    timeout(Duration::from_secs(60), gone).await.unwrap();
}

#[tokio::test]
async fn child_is_started_and_stopped_for_each_stop() {
    let plan = of_a_child("triggers::child_that_serves").await;
    let report = run(plan).await.unwrap();
    assert!(report.is_clean(), "{report}");
    let exits: Vec<_> = report.stops.iter().map(|stop| stop.exit.as_deref()).collect();
    assert_eq!(exits, [Some("exit status: 0"); 2], "{report}");
}

#[tokio::test]
async fn child_that_ends_too_early_is_trouble() {
    let plan = of_a_child("no_such_test").await;
    let report = run(plan).await.unwrap();
    let trouble = report.trouble.unwrap();
    assert!(trouble.contains("has ended before it was stopped"), "{trouble}");
}

#[tokio::test]
async fn server_that_is_no_child_is_not_tested_in_its_place() {
    let mut plan = of_a_child("triggers::child_that_serves").await;
    let other = Server::start(Stopping::NotAtAll).await;
    plan.url = format!("http://{}/", other.address);
    let report = run(plan).await.unwrap();
    let trouble = report.trouble.unwrap();
    assert!(trouble.contains("another server accepts"), "{trouble}");
}

/// Two stops of a child that runs this test of ours.
async fn of_a_child(test: &str) -> Plan {
    // The port is free again at once, because nothing was accepted on it.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let us = std::env::current_exe().unwrap().into_os_string().into_string().unwrap();
    let address_of_child = format!("DRAIN_TEST_CHILD={address}");
    let command = ["env", &address_of_child, &us, "--exact", test, "--ignored"];
    let command = command.map(str::to_owned).to_vec();
    let mut plan = plan(address, "http", StopTrigger::Spawn(command), &KINDS);
    plan.stops = 2;
    plan
}

/// No test, but the child of others.
#[tokio::test]
#[ignore = "it is a server, and runs until SIGTERM"]
async fn child_that_serves() {
    let Ok(address) = std::env::var("DRAIN_TEST_CHILD") else { return };
    let mut term = signal(SignalKind::terminate()).unwrap();
    let server = Server::start_with(&address, Stopping::Rightly, None).await;
    term.recv().await;
    server.stop.send_replace(true);
    server.ended().await;
}
