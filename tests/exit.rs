//! How the process ends: its exit code, its last line, and the signals that ask for it.

use std::fs;
use std::io::{self, PipeReader, Read, Write as _, pipe};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::support::app::slow_to_compile;
use crate::support::compiler::Compiler;
use crate::support::lines::Mark;
use crate::support::prelude::*;
use crate::support::process::{Process, TempPath};
use crate::support::stop::{
    GET, Held, OPEN, POST_HEAD, StopSummary, expect_last, lose_patience, stop,
};
use crate::support::wire::assert_broken;

/// A path of its own for `what`, removed in the end.
pub fn temp(what: &str) -> TempPath {
    TempPath::new(what)
}

/// A host with one exchange whose head is held back, and a drain that waits for it for longer than a
/// test lasts.
#[track_caller]
fn one_in_flight(guest: &str) -> (Host, Conn) {
    let host = Host::serve(guest).args(["--drain-timeout", "1h"]).start();
    let mut conn = host.connect();
    conn.send(POST_HEAD).unwrap();
    host.wait_log(says::GATE_STARTED);
    (host, conn)
}

#[test]
fn stop_with_everything_finished_exits_with_0_and_counts_what_finished_since_the_signal() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).start();
        assert_eq!(host.get("/").status(), 200, "finished before the stop: not counted");
        let held: Vec<Held> = (0..5).map(|_| Held::on(&host)).collect();
        stop(&host);
        for held in held {
            drop(held.open());
        }
        let exit = host.wait_exit();
        exit.expect_code(0);
        let StopSummary { finished, cut, dropped, .. } = StopSummary::read(&exit);
        assert_eq!((finished, cut, dropped), (5, 0, 0));
    }
}

#[test]
fn stop_that_cuts_exits_with_1_and_counts_what_it_cut() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).args(["--drain-timeout", "1s"]).start();
        let held: Vec<Held> = (0..5).map(|_| Held::on(&host)).collect();
        stop(&host);
        let mut cut = Vec::new();
        for (n, held) in held.into_iter().enumerate() {
            if n < 2 { drop(held.open()) } else { cut.push(held) }
        }
        let exit = host.wait_exit();
        exit.expect_code(1);
        let told = StopSummary::read(&exit);
        assert_eq!((told.finished, told.cut), (2, 3));
    }
}

#[test]
fn last_line_tells_the_time_from_the_signal_to_the_end() {
    let (host, mut conn) = one_in_flight("gate_p2");
    let before = Instant::now();
    host.signal(Signal::TERM);
    // It has looked at its clock by now.
    host.wait_log(says::ASKED);
    let asked = Instant::now();
    host.wait_log(says::DRAINING);
    let least = asked.elapsed();
    conn.send(OPEN).unwrap();
    expect_last(&mut conn);
    drop(conn);
    let exit = host.wait_exit();
    let told = Duration::from_secs_f64(StopSummary::read(&exit).took);
    assert!(told <= before.elapsed(), "{told:?}");
    let rounded = Duration::from_millis(1);
    assert!(told + rounded >= least, "{told:?} but it took {least:?}");
    assert_eq!(exit.stderr.matches(says::STOPPED).count(), 1, "said once");
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [&["serve"][..], &["serve", "--no-such-flag", "x.wasm"], &["no-such-command"]] {
        Host::run(args).expect_code(2);
    }
}

#[test]
fn component_that_cannot_be_served_exits_with_3() {
    let missing = Host::run(["serve", "--addr", "127.0.0.1:0", "/nowhere/app.wasm"]);
    missing.expect_code(3).expect_last_line("/nowhere/app.wasm");
    let garbage = temp("garbage.wasm");
    fs::write(&garbage.0, "not a component").unwrap();
    let path = garbage.0.to_str().unwrap();
    let exit = Host::run(["serve", "--addr", "127.0.0.1:0", path]);
    exit.expect_code(3);
    assert_eq!(exit.stdout, "", "never ready");
}

#[test]
fn taken_port_exits_with_3_and_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let exit = Host::run(["serve", "--addr", &addr, guest("hello_p2").to_str().unwrap()]);
    exit.expect_code(3).expect_last_line(&addr);
    assert_eq!(exit.stdout, "", "never ready");
}

#[test]
fn sigint_alone_drains_like_sigterm() {
    for guest in ["gate_p2", "gate_p3"] {
        let (host, mut conn) = one_in_flight(guest);
        host.signal(Signal::INT);
        host.wait_log(says::DRAINING);
        conn.send(OPEN).unwrap();
        expect_last(&mut conn);
        drop(conn);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line("s: 1 exchange finished, 0 cut, 0 conn");
    }
}

/// Drains after `first`, then sends `second`: the exit that follows at once.
#[track_caller]
fn cut_short(guest: &str, first: Signal, second: Signal) -> Exit {
    let (host, mut conn) = one_in_flight(guest);
    host.signal(first);
    host.wait_log(says::DRAINING);
    lose_patience(&host, second);
    let answer = conn.read_response("POST").expect("a cut is told");
    assert_eq!(answer.status(), 503);
    assert!(answer.head.says_close());
    let exit = host.wait_exit();
    exit.expect_last_line(", 1 cut, ");
    exit
}

#[test]
fn second_sigterm_cuts_at_once_and_exits_with_143() {
    for guest in ["gate_p2", "gate_p3"] {
        cut_short(guest, Signal::TERM, Signal::TERM).expect_code(143);
    }
}

#[test]
fn sigint_after_sigterm_cuts_at_once_and_exits_with_130() {
    cut_short("gate_p2", Signal::TERM, Signal::INT).expect_code(130);
    cut_short("gate_p2", Signal::INT, Signal::INT).expect_code(130);
}

#[test]
fn sigterm_after_sigint_cuts_at_once_and_exits_with_143() {
    cut_short("gate_p2", Signal::INT, Signal::TERM).expect_code(143);
}

#[test]
fn sigquit_after_sigterm_cuts_at_once_and_exits_with_131() {
    let exit = cut_short("gate_p3", Signal::TERM, Signal::QUIT);
    exit.expect_code(131);
}

#[test]
fn second_signal_during_the_drain_delay_cuts_at_once() {
    let host =
        Host::serve("gate_p2").args(["--drain-delay", "1h", "--drain-timeout", "2h"]).start();
    let held = Held::on(&host);
    host.signal(Signal::TERM);
    host.wait_log(says::LAME_DUCK);
    lose_patience(&host, Signal::TERM);
    let (mut conn, head) = held.into_conn();
    assert_broken(conn.read_body(&head, "POST"));
    let exit = host.wait_exit();
    exit.expect_code(143).expect_last_line(", 1 cut, ");
}

#[test]
fn sigquit_cuts_at_once_prints_what_was_running_and_exits_with_131() {
    for guest in ["gate_p2", "gate_p3"] {
        let (host, mut conn) = one_in_flight(guest);
        host.signal(Signal::QUIT);
        assert_eq!(conn.read_response("POST").expect("a cut is told").status(), 503);
        let exit = host.wait_exit();
        exit.expect_code(131);
        assert_eq!(StopSummary::read(&exit).cut, 1);
        let mut lines = exit.stderr.lines();
        let named = lines.find(|line| line.contains(says::SURVIVOR)).expect("it is named");
        assert!(named.contains("POST") && named.contains("/head"), "{named}");
    }
}

#[test]
fn sigquit_with_nothing_running_exits_with_131() {
    let host = Host::serve("hello_p2").start();
    host.signal(Signal::QUIT);
    let exit = host.wait_exit();
    exit.expect_code(131).expect_last_line("s: 0 exchanges finished, 0 cut, 0 conn");
}

#[test]
fn signals_for_reload_and_logs_do_not_end_the_process() {
    let host = Host::serve("hello_p2").start();
    host.signal(Signal::USR1);
    host.signal(Signal::HUP);
    host.wait_log(says::UNCHANGED);
    assert_eq!(host.get("/").status(), 200);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

#[test]
fn signal_for_reload_during_a_drain_does_not_cut_it_short() {
    let (host, mut conn) = one_in_flight("gate_p2");
    stop(&host);
    host.signal(Signal::HUP);
    host.wait_log(says::REJECTED);
    conn.send(OPEN).unwrap();
    expect_last(&mut conn);
    drop(conn);
    host.wait_exit().expect_code(0);
}

/// A peer that resets does not turn the end of a stop into a failure.
#[test]
fn exchange_whose_client_leaves_during_the_drain_is_not_counted_as_cut() {
    let (host, conn) = one_in_flight("gate_p2");
    stop(&host);
    conn.reset();
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// Starts `host serve` on an app that never becomes ready, and returns the process.
#[track_caller]
fn starting(app: &Path, socket: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    command.arg("serve");
    // What it might wait for lasts longer than a test.
    command.args(
        ["--compile-timeout", "--hook-timeout", "--drain-timeout"].map(|name| format!("{name}=1h")),
    );
    command.args(["--no-cache", "--control", "off", "--addr"]);
    command.arg(format!("unix:{}", socket.display())).arg(app);
    Process::spawn(&mut command)
}

/// Expects `process` to end with 0 at once, never ready, with its path removed.
#[track_caller]
fn expect_stopped_before_ready(process: &Process, socket: &Path) {
    let code = process.wait(Instant::now() + PATIENCE);
    assert_eq!(code, Some(0), "{}", process.stderr.text());
    assert!(process.stdout.wait_closed(Instant::now() + PATIENCE));
    assert_eq!(process.stdout.text(), "", "never ready");
    assert!(!socket.exists(), "nothing stays bound");
}

/// A guest whose start never ends: the host is never ready.
#[test]
fn stop_before_ready_exits_at_once_with_0() {
    let socket = temp("before.sock");
    for signal in [Signal::TERM, Signal::INT] {
        let process = starting(&guest("start_spin_p2"), &socket.0);
        let until = Instant::now() + PATIENCE;
        process.stderr.wait_for("component compiled", Mark::START, 1, until).expect("it starts");
        process.signal(signal);
        expect_stopped_before_ready(&process, &socket.0);
    }
}

#[test]
fn stop_while_compiling_exits_at_once_with_0() {
    let (app, socket) = (temp("huge.wasm"), temp("huge.sock"));
    fs::write(&app.0, slow_to_compile()).unwrap();
    let process = starting(&app.0, &socket.0);
    let compiler = Compiler::stopped(process.pid());
    process.signal(Signal::TERM);
    expect_stopped_before_ready(&process, &socket.0);
    compiler.expect_end();
}

/// A reader of a log who begins when it is told to.
struct Late {
    reader: PipeReader,
    wait: Receiver<()>,
}

impl Read for Late {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Until the other end is gone.
        self.wait.recv().ok();
        self.reader.read(buffer)
    }
}

/// The log went to a pipe that another process had made non-blocking and that was full for a moment: its end
/// was lost, and the last line with it.
#[test]
fn log_through_a_pipe_that_does_not_block_is_whole() {
    let (mut reader, writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut filled = 0;
    let mut filler = writer.try_clone().unwrap();
    while let Ok(more) = filler.write(b"a line of somebody else's\n") {
        filled += more;
    }
    drop(filler);
    let (may_read, wait) = channel::<()>();
    let late = Late { reader: reader.try_clone().unwrap(), wait };
    let host = Host::serve("gate_p2").stderr(writer, late).start();
    let mut conn = host.connect();
    conn.send(POST_HEAD).unwrap();
    // Its log finds no room, nor does what follows.
    host.signal(Signal::TERM);
    while Conn::connect(host.addr()).is_ok() {}
    reader.read_exact(&mut vec![0; filled]).unwrap();
    drop(may_read);
    host.wait_log(says::GATE_STARTED);
    host.wait_log(says::DRAINING);
    conn.send(OPEN).unwrap();
    expect_last(&mut conn);
    drop(conn);
    let exit = host.wait_exit();
    exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
    for line in ["ready addr=", says::ASKED, says::CLOSING_DOOR] {
        assert!(exit.stderr.contains(line), "{line}");
    }
}

/// The control: no client is told to leave while nothing stops.
#[test]
fn without_a_stop_no_answer_says_close() {
    let host = Host::serve("hello_p2").start();
    let mut conn = host.connect();
    for _ in 0..3 {
        conn.send(GET).unwrap();
        let response = conn.read_response("GET").unwrap();
        assert!(!response.head.says_close(), "{response}");
    }
}
