//! A host at a terminal whose reader does not read: Ctrl-S, or `docker run -t` behind a client that hangs.

use std::fs::{self, File};
use std::os::fd::OwnedFd;

use nix::pty::openpty;
use nix::sys::termios::{FlowArg, tcflow};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::app::{App, text, variant, version};
use crate::support::compiler::Compiler;
use crate::support::prelude::*;
use crate::support::stop::Held;

/// A terminal, as its programs have it.
struct Terminal(OwnedFd);

impl Terminal {
    /// A new one, and the end from which everything is read that is written to it.
    fn new() -> (Self, File) {
        let pty = openpty(None, None).expect("a terminal can be made");
        for end in [&pty.master, &pty.slave] {
            fcntl_setfd(end, FdFlags::CLOEXEC).expect("it is open");
        }
        (Self(pty.slave), pty.master.into())
    }

    /// The same, of so many columns.
    fn with_columns(columns: u16) -> (Self, File) {
        let (terminal, reader) = Self::new();
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal.0, size).expect("it is a terminal");
        (terminal, reader)
    }

    /// One for a program to write to.
    fn writer(&self) -> OwnedFd {
        self.0.try_clone().expect("there are descriptors")
    }

    /// What Ctrl-S does: who writes has to wait.
    fn hold(&self) {
        tcflow(&self.0, FlowArg::TCOOFF).expect("it is a terminal");
    }

    /// What Ctrl-Q does.
    fn release(&self) {
        tcflow(&self.0, FlowArg::TCOON).expect("it is a terminal");
    }
}

/// The progress of a compile of more than a second was written to the terminal by the worker. With the
/// terminal held no request was answered any more; a stop lost those that came, and said "0 dropped".
#[test]
fn compile_at_a_terminal_that_is_held_does_not_wait_for_it() {
    let app = App::new("version_a_p2");
    let cache = app.folder.join("cache");
    let serve = || app.serve().control().args(["--cache-dir", text(&cache), "--threads", "1"]);
    // So that the start compiles nothing.
    drop(serve().start());
    let (terminal, reader) = Terminal::new();
    let serve = serve().args(["--compile-timeout", "1500ms"]);
    let host = serve.stderr(terminal.writer(), reader).start();
    terminal.hold();
    let slow = app.folder.join("slow.wasm");
    fs::write(&slow, variant("version_b_p2", 1)).unwrap();
    let asked = host.start_ctl(["swap", text(&slow)]);
    let _compiler = Compiler::stopped(host.pid());
    asked.wait_exit().expect_code(1).expect_last_line("did not compile within 1.5s");
    assert_eq!(version(&host.get("/")), "a");
    terminal.release();
    host.wait_log("compiling ");
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// Lines of 81 to 83 letters wrapped on 80 columns, and scrolled five times a second. A line of the log was glued behind
/// them, and two formats of time stood in one drain.
#[test]
fn progress_fits_the_terminal_and_is_cleared_before_a_line_of_the_log() {
    let (terminal, reader) = Terminal::with_columns(40);
    let serve = Host::serve("gate_p2").env("TERM", "xterm");
    let host = serve.stderr(terminal.writer(), reader).start();
    let held = Held::on(&host);
    host.signal(Signal::TERM);
    // Said after 5 s. What was drawn stands before it.
    let line = host.wait_log("stop: waiting for 1 exchange");
    let drawn: Vec<_> = line.split("\r\u{1b}[2K").collect();
    let (said, drawn) = drawn.split_last().unwrap();
    assert!(said.contains(" INFO ") || said.contains("INFO"), "the line was cleared: {line:?}");
    let progress: Vec<_> = drawn.iter().filter(|text| text.contains("draining ")).collect();
    assert!(progress.len() > 3, "drawn once is not live: {line:?}");
    for text in progress {
        assert!(text.starts_with("draining ") && text.contains("s of 25s: 1 exch"), "{text:?}");
        assert!(text.chars().count() < 40, "{text:?}");
    }
    drop(held.open());
    host.wait_exit().expect_code(0);
}

/// Terminals of editors show commands as letters: there the log says how far it is, and nothing is drawn.
#[test]
fn dumb_terminal_gets_a_log_without_commands() {
    let (terminal, reader) = Terminal::with_columns(40);
    let serve = Host::serve("gate_p2").env("TERM", "dumb");
    let host = serve.stderr(terminal.writer(), reader).start();
    let held = Held::on(&host);
    host.signal(Signal::TERM);
    host.wait_log("stop: waiting for 1 exchange");
    assert!(!host.log().contains('\u{1b}'), "{}", host.log());
    drop(held.open());
    host.wait_exit().expect_code(0);
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    for (no_color, colours) in [("", true), ("1", false)] {
        let (terminal, reader) = Terminal::new();
        let serve = Host::serve("hello_p2").env("NO_COLOR", no_color).env("TERM", "xterm");
        let host = serve.stderr(terminal.writer(), reader).start();
        let line = host.wait_log("component is ready");
        assert_eq!(line.contains("\u{1b}[32m INFO\u{1b}[0m"), colours, "{line:?}");
        assert_eq!(line.contains('\u{1b}'), colours, "{line:?}");
    }
    let host = Host::serve("hello_p2").start();
    assert!(!host.wait_log("component is ready").contains('\u{1b}'));
}
