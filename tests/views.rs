//! The lists of `host ctl`, where their output goes: a terminal, a pipe, a reader that leaves.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::process::{Command, Stdio};

use unicode_width::UnicodeWidthStr as _;

use crate::support::app::{App, text};
use crate::support::binary::binary;
use crate::support::prelude::*;
use crate::support::pty::Pty;
use crate::support::site::Site;
use crate::support::status::ctl_json;

/// As many as do not fit into 24 rows, with names of 63 letters that differ in their last but one.
const COMPONENTS: usize = 40;

const LISTS: [&str; 4] = ["status", "generations", "usage", "connections"];

fn name(number: usize) -> String {
    format!("a-component-of-a-shop-that-has-names-as-long-as-they-may-be-{number:02}x")
}

fn many() -> (Site, Host) {
    let mut toml = String::new();
    for number in 0..COMPONENTS {
        let name = name(number);
        writeln!(toml, "[component.{name}]\nsource = \"guest:hello_p2\"").unwrap();
        writeln!(toml, "[[route]]\npath = \"/{number}\"\ncomponent = \"{name}\"").unwrap();
    }
    let site = Site::new(&toml);
    let host = site.serve().control().start();
    (site, host)
}

fn ctl(host: &Host, args: &[&str]) -> Command {
    let mut command = binary();
    command.arg("ctl").arg("--socket").arg(host.control_path()).args(args);
    command
}

/// All that a command draws on a terminal of so many columns.
#[track_caller]
fn at_terminal(command: &Command, columns: u16) -> String {
    let mut until_end = Command::new("sh");
    until_end.args(["-c", "\"$@\" && printf '\\3'", "sh"]).arg(command.get_program());
    until_end.args(command.get_args());
    let mut pty = Pty::spawn(&until_end, (columns, 24));
    let drawn = pty.wait_drawn("\u{3}", 0);
    assert_eq!(pty.wait_exit(), 0);
    drawn.trim_end_matches('\u{3}').to_owned()
}

/// Forty times `a-compo…` said nothing.
#[test]
fn lists_fit_a_terminal_and_tell_long_names_apart_and_a_pipe_gets_them_whole() {
    let (_site, host) = many();
    for (columns, list) in [40, 80, 200].into_iter().flat_map(|it| LISTS.map(|list| (it, list))) {
        let drawn = at_terminal(&ctl(&host, &[list]), columns);
        let lines: Vec<&str> = drawn.lines().map(|line| line.trim_end_matches('\r')).collect();
        assert!(lines.iter().all(|line| line.width() <= columns.into()), "{drawn}");
        let words = lines.iter().flat_map(|line| line.split(' '));
        let names = words.filter(|word| word.starts_with("a-") && word.ends_with('x'));
        let (mut all, mut different) = (0, BTreeSet::new());
        names.for_each(|name| {
            all += 1;
            different.insert(name);
        });
        match list {
            "connections" => {}
            "status" => assert!(lines.len() < 24 && all >= 10, "{drawn}"),
            _ => assert_eq!(all, COMPONENTS, "{drawn}"),
        }
        assert_eq!(different.len(), all, "{drawn}");
        let piped = host.ctl([list]).stdout;
        let whole = (0..COMPONENTS).all(|number| piped.contains(&format!("{}  ", name(number))));
        assert!(whole || list == "connections", "{piped}");
    }
}

/// As in `host ctl generations | head -1`.
#[test]
fn reader_that_leaves_early_is_no_error() {
    let (_site, host) = many();
    for args in [&["status"][..], &["generations"], &["usage"], &["--json", "status"], &["canary"]]
    {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let done = ctl(&host, args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!((done.status.code(), said.as_ref()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn column_that_a_list_has_not_is_refused_with_those_that_it_has() {
    let host = Host::serve("hello_p2").control().start();
    for (list, has) in [
        ("connections", "peer, listener, protocol"),
        ("generations", "in-flight, cut-in"),
        ("usage", "cpu, memory-x-time"),
    ] {
        let refused = host.ctl([list, "--sort", "colour"]);
        refused.expect_code(2);
        assert!(refused.stderr.contains("'colour'") && refused.stderr.contains(has), "{refused:?}");
    }
}

/// `generations` and the log called it by its file, and everything else by its name.
#[test]
fn component_keeps_its_name_when_it_is_swapped_to_a_file_of_another() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().start();
    host.ctl(["swap", text(&guest("trap_p2"))]).expect_code(0);
    host.get("/");
    assert!(host.wait_log("guest failed").contains("component=\"app\""), "{}", host.log());
    let list = ctl_json(&host, "generations");
    let names = list["generations"].as_array().unwrap().iter().map(|it| &it["component"]);
    assert_eq!(names.collect::<Vec<_>>(), ["app", "app"]);
}
