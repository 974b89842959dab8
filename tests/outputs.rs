//! A host whose stdout or stderr is closed, or is not read.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::exit::temp;
use crate::support::lines::Mark;
use crate::support::prelude::*;
use crate::support::process::{Process, TempPath};

/// Starts `host serve` through a shell that redirects as `redirect` says; its Unix socket.
#[track_caller]
fn redirected(redirect: &str, guest_name: &str, what: &str) -> (Process, TempPath) {
    let socket = temp(what);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec \"$0\" \"$@\" {redirect}"), env!("CARGO_BIN_EXE_host")]);
    command.arg("serve").arg(guest(guest_name)).arg("--addr");
    command.arg(format!("unix:{}", socket.0.display()));
    command.args(["--cache-dir", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache")]);
    (Process::spawn(&mut command), socket)
}

#[track_caller]
fn expect_serves_and_stops(process: &Process, socket: &Path, path: &str) {
    for _ in 0..3 {
        let mut conn = Conn::connect(socket).expect("it listens");
        assert_eq!(conn.get(path).expect("it serves").status(), 200);
    }
    process.signal(Signal::TERM);
    assert_eq!(process.wait(Instant::now() + PATIENCE), Some(0), "{}", process.stderr.text());
}

#[test]
fn host_whose_stdout_is_closed_serves_and_stops() {
    let (process, socket) = redirected(">&-", "hello_p2", "stdout.sock");
    let ready = process.stderr.wait_for("ready addr=", Mark::START, 1, Instant::now() + PATIENCE);
    ready.expect("the log says it too");
    expect_serves_and_stops(&process, &socket.0, "/");
}

#[test]
fn host_whose_stderr_is_closed_serves_and_stops() {
    let (process, socket) = redirected("2>&-", "chatty_p2", "stderr.sock");
    let ready = process.stdout.wait_for("ready", Mark::START, 1, Instant::now() + PATIENCE);
    ready.expect("the ready line");
    expect_serves_and_stops(&process, &socket.0, "/?n=10");
}

#[test]
fn host_whose_log_is_not_read_serves_and_stops() {
    let fifo = temp("log.fifo");
    assert!(Command::new("mkfifo").arg(&fifo.0).status().unwrap().success());
    // Open for both, so that opening does not wait; nothing is ever read from it.
    let unread = fs::OpenOptions::new().read(true).write(true).open(&fifo.0).unwrap();
    let redirect = format!("2>{}", fifo.0.display());
    let (process, socket) = redirected(&redirect, "chatty_p3", "flood.sock");
    let ready = process.stdout.wait_for("ready", Mark::START, 1, Instant::now() + PATIENCE);
    ready.expect("the ready line");
    // Each prints far more than a pipe holds.
    expect_serves_and_stops(&process, &socket.0, "/?n=4000&len=200");
    drop(unread);
}
