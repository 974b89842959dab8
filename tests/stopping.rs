//! The drain: what it waits for, and what it shows meanwhile. How it cuts is in `stopping_cut.rs`.

use std::process::Command;
use std::time::Instant;

use crate::support::lines::Mark;
use crate::support::prelude::*;
use crate::support::process::Process;
use crate::support::stop::{Held, OPEN, POST, POST_HEAD, connections, expect_last, stop};

#[track_caller]
pub fn get(conn: &mut Conn, path: &str) {
    conn.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")).expect("the host reads");
}

/// W24. Nothing to wait for: nothing is waited for. Each wait that there could be lasts an hour, so that only
/// events end the stop. That no time passes between them is seen on a paused clock:
/// `drain_with_nothing_in_flight_is_immediate`.
#[test]
fn drain_with_nothing_in_flight_waits_for_nothing() {
    let args = ["--drain-timeout", "1h", "--linger", "1h", "--keep-alive-timeout", "1h"];
    let host = Host::serve("hello_p2").everywhere().args(args).start();
    assert_eq!(host.get("/").status(), 200);
    host.signal(Signal::TERM);
    host.wait_exit()
        .expect_code(0)
        .expect_last_line(": 0 exchanges finished, 0 cut, 0 connections");
}

/// W24. The last answer of the last connection ends the process, and not its timeout. That nothing comes
/// between is seen on a paused clock: `drain_ends_with_the_last_guard_and_not_at_the_deadline`.
#[test]
fn exit_follows_the_last_answer() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).everywhere().args(["--drain-timeout", "1h"]).start();
        let held: Vec<Held> = connections(&host).into_iter().map(Held::over).collect();
        stop(&host);
        for held in held {
            drop(held.open());
        }
        host.wait_exit().expect_code(0).expect_last_line("3 exchanges finished, 0 cut, 0 conn");
    }
}

/// An exchange is in flight until the last frame of its body, whatever has been sent before.
#[test]
fn exchange_is_waited_for_until_the_last_frame_of_its_body() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).start();
        let held = Held::on(&host);
        stop(&host);
        drop(held.open());
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line("s: 1 exchange finished, 0 cut, 0 conn");
    }
}

#[test]
fn streaming_answer_that_ends_before_the_timeout_is_not_cut() {
    for guest in ["drip_p2", "drip_p3"] {
        let host = Host::serve(guest).everywhere().start();
        let mut conns = connections(&host);
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/?n=20&ms=50");
        assert_eq!(h2.expect_status(1), 200);
        let mut heads = Vec::new();
        for conn in &mut conns {
            get(conn, "/?n=20&ms=50");
            heads.push(conn.read_head().unwrap());
        }
        host.signal(Signal::TERM);
        for (conn, head) in conns.iter_mut().zip(&heads) {
            let body = conn.read_body(head, "GET").expect("to the last chunk").text();
            assert_eq!(body.lines().count(), 20, "{body}");
        }
        let mut ticks = Vec::new();
        while !ticks.ends_with(b"tick 20\n") {
            ticks.extend(h2.expect_data(1).0);
        }
        h2.expect_fin();
        drop((conns, h2));
        host.wait_exit().expect_code(0).expect_last_line("4 exchanges finished, 0 cut, 0 conn");
    }
}

#[test]
fn upload_that_goes_on_during_the_drain_is_taken_whole() {
    for guest in ["echo_p2", "echo_p3"] {
        let host = Host::serve(guest).everywhere().start();
        let mut conns = connections(&host);
        let mut h2 = H2::connect(host.addr());
        let mut heads = Vec::new();
        h2.send_headers(1, "POST", "/", false);
        h2.send_data(1, b"before", false);
        assert_eq!(h2.expect_data(1).0, b"before");
        for conn in &mut conns {
            conn.send(format!("{POST}6\r\nbefore\r\n")).unwrap();
            heads.push(conn.read_head().unwrap());
        }
        stop(&host);
        h2.send_data(1, b" and after", true);
        assert_eq!(h2.expect_data(1).0, b" and after");
        h2.expect_fin();
        for (conn, head) in conns.iter_mut().zip(&heads) {
            conn.send(format!("a\r\n and after\r\n{OPEN}")).unwrap();
            let body = conn.read_body(head, "POST").expect("the whole answer");
            assert_eq!(body.text(), "before and after");
        }
        drop((conns, h2));
        host.wait_exit().expect_code(0).expect_last_line("4 exchanges finished, 0 cut, 0 conn");
    }
}

/// W19. The client has all it wants; the guest has not.
#[test]
fn work_after_the_answer_is_waited_for() {
    for guest in ["after_p2", "after_p3"] {
        let host = Host::serve(guest).start();
        assert_eq!(host.get("/?ms=1500").text(), "answered\n");
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        let asked = exit.stderr.find(says::ASKED).expect("it was asked");
        let done = exit.stderr.find(says::AFTER_DONE).expect("the guest finished");
        assert!(asked < done, "the stop came during the work");
    }
}

/// An operator at a terminal sees what a stop waits for.
#[test]
fn drain_on_a_terminal_shows_its_progress_live() {
    let command = format!(
        "exec {} serve {} --addr 127.0.0.1:0 --no-cache",
        env!("CARGO_BIN_EXE_host"),
        guest("gate_p2").display()
    );
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-e", "-f", "-c", &command, "/dev/null"]);
    let terminal = Process::spawn(&mut terminal);
    let until = Instant::now() + PATIENCE;
    let ready = terminal.stdout.wait_for("ready addr=", Mark::START, 1, until).unwrap();
    let field = |name| ready.split([' ', '=']).skip_while(|f| *f != name).nth(1).unwrap();
    let target = Target::parse(field("addr")).unwrap();
    let held = Held::over(Conn::connect(&target).unwrap());
    let pid = field("pid").trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    // Drawn over itself, so for us it ends with the next line of the log, which comes after 5 s.
    let line = terminal.stdout.wait_for("stop: waiting for 1 ex", Mark::START, 1, until).unwrap();
    let drawn = line.matches("s of 25s: 1 exchange, 1 connection").count();
    assert!(drawn > 3, "drawn once is not live: {line:?}");
    drop(held.open());
    let until = Instant::now() + PATIENCE;
    assert_eq!(terminal.wait(until), Some(0), "{}", terminal.stdout.text());
    assert!(terminal.stdout.wait_closed(until), "the terminal goes with its last process");
    // The line is cleared before the last line is written, never after it: failed once in CI.
    assert!(terminal.stdout.last().contains(says::NOTHING_CUT), "{}", terminal.stdout.text());
}

/// Off a terminal it is said in the log instead, and nothing is drawn.
#[test]
fn drain_off_a_terminal_says_what_is_left_every_5_seconds() {
    let host = Host::serve("gate_p2").start();
    let mut conn = host.connect();
    conn.send(POST_HEAD).unwrap();
    host.wait_log(says::GATE_STARTED);
    host.signal(Signal::TERM);
    host.wait_log("stop: waiting for 1 exchange, 1 connection at=");
    host.wait_log("stop: waiting for POST /head");
    conn.send(OPEN).unwrap();
    expect_last(&mut conn);
    drop(conn);
    let exit = host.wait_exit();
    exit.expect_code(0);
    assert!(!exit.stderr.contains('\r'), "{:?}", exit.stderr);
}
