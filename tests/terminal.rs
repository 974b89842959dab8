//! A host at a terminal whose reader does not read: Ctrl-S, or `docker run -t` behind a client that hangs.

use std::fs::{self, File};
use std::os::fd::OwnedFd;

use nix::pty::openpty;
use nix::sys::termios::{FlowArg, tcflow};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::support::app::{App, text, variant, version};
use crate::support::compiler::Compiler;
use crate::support::prelude::*;

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
