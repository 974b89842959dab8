//! What stops a server: a signal, a command, and the end of a child.

use std::process::id;
use std::time::Duration;

use crate::support::{Server, Stopping, plan};
use host_drain_test::{ClientKind, DrainReport, Plan, StopTrigger, run};
use tokio::signal::unix::{SignalKind, signal};

const KINDS: [ClientKind; 2] = [ClientKind::H1Kept, ClientKind::H1Upload];

/// Tests a server in this process that stops with this signal.
async fn stopped_by(kind: SignalKind, trigger: StopTrigger) -> DrainReport {
    let mut signals = signal(kind).unwrap();
    let server = Server::start(Stopping::Rightly).await;
    let stop = server.stop.clone();
    let listening = tokio::spawn(async move {
        signals.recv().await;
        stop.send_replace(true);
    });
    let report = run(plan(server.address, "http", trigger, &KINDS)).await.unwrap();
    listening.await.unwrap();
    report
}

#[tokio::test]
async fn signal_stops_a_process() {
    let trigger = StopTrigger::signal(&format!("{}:USR1", id())).unwrap();
    let report = stopped_by(SignalKind::user_defined1(), trigger).await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn command_stops_a_server_and_its_exit_is_told() {
    let trigger = StopTrigger::Exec(format!("kill -USR2 {}", id()));
    let report = stopped_by(SignalKind::user_defined2(), trigger).await;
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
