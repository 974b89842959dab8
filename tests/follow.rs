//! `host ctl` at a narrow terminal: lines of progress that are drawn over themselves.

use std::process::Command;

use crate::support::app::{App, text};
use crate::support::binary::binary;
use crate::support::canary::wait_canaries;
use crate::support::prelude::*;
use crate::support::pty::Pty;
use crate::support::stop::Held;

/// Goes to the beginning of the line and erases it.
const CLEAR: &str = "\r\u{1b}[2K";

/// `host ctl ARGS` at a terminal of 40 columns, that is called `term`.
fn at(term: &str, host: &Host, args: &[&str]) -> Pty {
    let mut command: Command = binary();
    command.env("TERM", term);
    command.arg("ctl").arg("--socket").arg(host.control_path()).args(args);
    Pty::spawn(&command, (40, 24))
}

fn follow(host: &Host, args: &[&str]) -> Pty {
    at("xterm", host, args)
}

/// What was drawn is lines of progress, each cleared before the next, and then `last`, on lines of its own.
#[track_caller]
fn expect_progress(drawn: &str, progress: &str, last: &str) {
    let mut pieces: Vec<&str> = drawn.split(CLEAR).collect();
    let end = pieces.pop().expect("split gives one at least");
    assert!(end.starts_with(last) && end.ends_with("\r\n"), "{drawn:?}");
    let drawn_over: Vec<_> = pieces.iter().filter(|piece| piece.starts_with(progress)).collect();
    assert!(!drawn_over.is_empty(), "{drawn:?}");
    for piece in drawn_over {
        assert!(!piece.contains(['\r', '\n']), "{piece:?}");
        assert!(piece.chars().count() < 40, "{piece:?} wraps");
    }
}

#[test]
fn progress_of_a_followed_stop_fits_and_is_cleared_before_the_last_line() {
    let host = Host::serve("gate_p2").control().start();
    let held = Held::on(&host);
    let mut stop = follow(&host, &["stop", "--wait"]);
    stop.wait_drawn("draining ", 0);
    let mark = stop.mark();
    stop.wait_drawn("s of 25s: 1 exchange, 1 c", mark);
    drop(held.open());
    host.wait_exit().expect_code(0);
    assert_eq!(stop.wait_exit(), 0);
    expect_progress(&stop.wait_drawn("stopped in", 0), "draining ", "stopped in ");
}

#[test]
fn progress_of_a_followed_canary_fits_and_is_cleared_before_its_end() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().start();
    let new = guest("version_b_p2");
    let swap = ["swap", text(&new), "--canary", "5%", "--for", "10h", "--wait"];
    let mut swap = follow(&host, &swap);
    wait_canaries(&host, |list| list.len() == 1);
    swap.wait_drawn("app: 2 at 1% (1/5), ", 0);
    host.ctl(["canary", "promote"]).expect_code(0);
    assert_eq!(swap.wait_exit(), 0);
    let drawn = swap.wait_drawn("promoted: ", 0);
    assert!(drawn.starts_with("canary: generation 2 of app takes over from 1"), "{drawn:?}");
    expect_progress(&drawn, "app: 2 at 1%", "promoted: generation 2 of app serves");
}

/// The reason was glued behind the line of progress.
#[test]
fn progress_is_cleared_before_the_reason_why_it_goes_on_no_more() {
    let host = Host::serve("gate_p2").control().start();
    let _held = Held::on(&host);
    let mut stop = follow(&host, &["stop", "--wait"]);
    stop.wait_drawn("draining ", 0);
    host.signal(Signal::KILL);
    host.wait_exit().expect_code(-9);
    assert_eq!(stop.wait_exit(), 4);
    expect_progress(&stop.wait_drawn("host ctl: ", 0), "draining ", "host ctl: ");
}

/// Terminals of editors show commands as letters.
#[test]
fn dumb_terminal_gets_lines_and_no_commands() {
    let host = Host::serve("gate_p2").control().start();
    let held = Held::on(&host);
    let mut top = at("dumb", &host, &["top"]);
    assert_eq!(top.wait_exit(), 2);
    assert!(!top.wait_drawn("host ctl status", 0).contains('\u{1b}'));
    let mut stop = at("dumb", &host, &["stop", "--wait"]);
    stop.wait_drawn("1 exchange, 1 connection\r\n", 0);
    drop(held.open());
    host.wait_exit().expect_code(0);
    assert_eq!(stop.wait_exit(), 0);
    let drawn = stop.wait_drawn("stopped in", 0);
    assert!(!drawn.contains('\u{1b}'), "{drawn:?}");
}
