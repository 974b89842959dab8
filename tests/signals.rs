//! Signals as those send them who start and stop a host: twice for one stop, or blocked and ignored
//! from the very first.

use crate::support::prelude::*;
use crate::support::stop::{GET, Held, expect_last};

/// coreutils `timeout` signals its child and then its own group; so do supervisors that signal a whole
/// group, and wrappers that pass on what the group had already got. The second signal came within
/// 10 ms and cut what was in flight.
#[test]
fn one_stop_that_comes_as_two_signals_drains_and_says_so() {
    for (first, second) in [(Signal::TERM, Signal::INT), (Signal::INT, Signal::TERM)] {
        let host = Host::serve("gate_p2").start();
        let held = Held::on(&host);
        host.signal(first);
        host.signal(second);
        host.wait_log(says::SAME_STOP);
        host.wait_log(says::DRAINING);
        drop(held.open());
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}

/// Blocked by its parent process (a shell's `trap`, a supervisor's bug): nothing but SIGKILL ended
/// the host then. A blocked SIGILL let a guest that trapped end the host.
#[test]
fn host_that_was_started_with_all_signals_blocked_hears_them() {
    for (signal, code) in [(Signal::TERM, 0), (Signal::INT, 0), (Signal::QUIT, 131)] {
        let host = Host::serve("trap_p2").under(["env", "--block-signal"]).start();
        assert_eq!(host.get("/").status(), 500, "the guest traps and nobody else");
        host.signal(Signal::HUP);
        host.wait_log(says::UNCHANGED);
        host.signal(signal);
        host.wait_exit().expect_code(code);
    }
}

/// As by `nohup`, or `&` in a script: what an operator sends means the same however it was started.
#[test]
fn host_that_was_started_with_its_signals_ignored_hears_them() {
    let ignore = "--ignore-signal=HUP,INT,QUIT,TERM,CHLD,USR1,USR2";
    for signal in [Signal::TERM, Signal::INT] {
        // Compiled, so that a child of its own is waited for as well.
        let serve = Host::serve("hello_p2").args(["--no-cache"]);
        let host = serve.under(["env", ignore]).start();
        host.signal(Signal::HUP);
        host.wait_log(says::UNCHANGED);
        let mut conn = host.connect();
        host.signal(signal);
        host.wait_log(says::DRAINING);
        conn.send(GET).unwrap();
        expect_last(&mut conn);
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}
