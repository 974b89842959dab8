//! `host ctl top` at a terminal: what it shows, and how it leaves.

use std::process::Command;

use crate::support::binary::binary;
use crate::support::prelude::*;
use crate::support::pty::Pty;
use crate::support::stop::Held;

/// The alternate screen is left, and the cursor is there again.
const LEFT: &str = "\u{1b}[?1049l";
const CURSOR: &str = "\u{1b}[?25h";

fn top(host: &Host, size: (u16, u16)) -> Pty {
    let mut command: Command = binary();
    command.arg("ctl").arg("--socket").arg(host.control_path()).arg("top");
    Pty::spawn(&command, size)
}

#[test]
fn top_shows_what_is_in_flight_and_every_key_that_people_try_leaves() {
    let host = Host::serve("gate_p2").control().start();
    let held = Held::on(&host);
    for key in ["q", "\u{1b}", "\u{3}"] {
        let mut top = top(&host, (80, 24));
        for text in ["last minute", "1 exchange", "SLOWEST IN FLIGHT", "q leaves"] {
            top.wait_drawn(text, 0);
        }
        top.press(key);
        assert_eq!(top.wait_exit(), 0, "{key:?}");
        let drawn = top.wait_drawn(LEFT, 0);
        assert!(drawn.contains(CURSOR), "no cursor any more");
    }
    drop(held.open());
}

#[test]
fn top_draws_anew_for_a_terminal_of_another_size() {
    let host = Host::serve("hello_p2").control().start();
    let mut top = top(&host, (80, 24));
    top.wait_drawn("q leaves", 0);
    for (columns, rows) in [(20, 4), (2, 2), (120, 40)] {
        let mark = top.mark();
        top.resize(columns, rows);
        // The last line of a screen of this size.
        top.wait_drawn(if columns < 8 { "q…" } else { "q leaves" }, mark);
    }
    top.press("q");
    assert_eq!(top.wait_exit(), 0);
}

#[test]
fn signal_leaves_the_terminal_as_it_was() {
    let host = Host::serve("hello_p2").control().start();
    let mut top = top(&host, (80, 24));
    top.wait_drawn("q leaves", 0);
    top.signal(Signal::TERM);
    assert_eq!(top.wait_exit(), 143);
    top.wait_drawn(LEFT, 0);
}

#[test]
fn top_ends_with_its_host_and_says_so() {
    let host = Host::serve("gate_p2").control().start();
    let held = Held::on(&host);
    let mut stopping = top(&host, (80, 24));
    stopping.wait_drawn("ready", 0);
    host.signal(Signal::TERM);
    stopping.wait_drawn("draining", 0);
    let mut killed = top(&host, (80, 24));
    killed.wait_drawn("draining", 0);
    drop(held.open());
    host.wait_exit().expect_code(0);
    for top in [&mut stopping, &mut killed] {
        assert_eq!(top.wait_exit(), 0);
        top.wait_drawn("has stopped", 0);
    }
    let host = Host::serve("hello_p2").control().start();
    let mut top = top(&host, (80, 24));
    top.wait_drawn("ready", 0);
    host.signal(Signal::KILL);
    host.wait_exit().expect_code(-9);
    assert_eq!(top.wait_exit(), 4);
    top.wait_drawn("broke", 0);
}

#[test]
fn without_a_terminal_top_says_what_to_do() {
    let host = Host::serve("hello_p2").control().start();
    let exit = host.ctl(["top"]);
    exit.expect_code(2).expect_last_line("host ctl status");
    host.ctl(["top", "--json"]).expect_code(2).expect_last_line("/v1/traffic");
}

#[test]
fn status_at_a_terminal_of_80_columns_and_24_rows_fits() {
    let host = Host::serve("hello_p2").control().start();
    assert_eq!(host.get("/").status(), 200);
    let mut command: Command = binary();
    command.arg("ctl").arg("--socket").arg(host.control_path()).arg("status");
    let mut pty = Pty::spawn(&command, (80, 24));
    assert_eq!(pty.wait_exit(), 0);
    let drawn = pty.wait_drawn("COMPONENT", 0);
    assert!(drawn.lines().count() < 24, "{drawn}");
    assert!(drawn.lines().all(|line| line.trim_end().chars().count() <= 80), "{drawn}");
}
