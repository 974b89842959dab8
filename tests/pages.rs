//! README.md and the pages of docs/: each command that they show is run as it stands there, and prints
//! what they show.

use std::fs;
use std::path::Path;

use crate::support::app::bytes;
use crate::support::gate::Gate;
use crate::support::page::{Page, ROOT, Shell, Step, blocks, matches};
use crate::support::prelude::*;
use crate::support::stop::{OPEN, POST_HEAD};

/// Each has a test below. What stands in a page that is not here must not be there to be run.
const RUN: [&str; 7] = [
    "README.md",
    "docs/control.md",
    "docs/debugging.md",
    "docs/guests.md",
    "docs/manifest.md",
    "docs/stopping.md",
    "docs/swapping.md",
];

#[test]
fn every_page_with_commands_has_a_test() {
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).expect("there are docs");
    let names = docs.map(|entry| entry.expect("readable").file_name().into_string().expect("text"));
    let pages = names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    let with_commands: Vec<String> = pages
        .chain(["README.md".to_owned()])
        .filter(|page| !Page::open(page).is_done() && !RUN.contains(&page.as_str()))
        .collect();
    assert!(with_commands.is_empty(), "not run: {with_commands:?}");
}

#[test]
fn readme_shows_what_happens() {
    let mut page = Page::open("README.md");
    let mut shell = Shell::new();
    shell.put("/srv/app.wasm", "greet_p2");
    shell.put("greet_p3.wasm", "greet_p3");
    shell.serve(&["/srv/app.wasm", "--smoke=GET /health 200"]);
    page.run(&mut shell);
    shell.put("/srv/app.wasm", "broken_smoke_p2");
    page.run(&mut shell);
    page.run(&mut shell);
    shell.kill_hosts();
    shell.put("target/wasm32-wasip2/release/greet.wasm", "greet_p2");
    page.run(&mut shell);
    assert_eq!(shell.host().get("/you").text(), "hello from /you\n");
    page.expect_end();
}

#[test]
fn control_page_shows_what_happens() {
    let mut page = Page::open("docs/control.md");
    let mut shell = Shell::new();
    shell.put("app.wasm", "hello_p2");
    shell.put("new.wasm", "hello_p3");
    shell.serve(&["app.wasm"]);
    page.run(&mut shell);
    shell.kill_hosts();
    shell.serve(&["app.wasm"]);
    page.run(&mut shell);
    page.expect_end();
}

/// The components of docs/debugging.md, each with a fault.
fn faulty(shop: &str) -> String {
    let mut manifest =
        "[limits]\nmemory = \"16MiB\"\ncpu-time = \"300ms\"\nresponse-head-timeout = \"1s\"\n\
                        log-rate = \"4KiB/s\"\n"
            .to_owned();
    for (name, path, more) in [
        ("shop", "/", shop),
        ("report", "/report", ""),
        ("search", "/search", ""),
        ("old", "/old", ""),
        ("mail", "/mail", ""),
        ("chatty", "/chatty", ""),
    ] {
        let route =
            format!("[[route]]\npath = {path:?}\ncomponent = {name:?}\nstrip-prefix = true\n");
        let route = if path == "/" { route.replace("strip-prefix = true\n", "") } else { route };
        manifest += &format!("[component.{name}]\nsource = \"{name}.wasm\"\n{more}{route}");
    }
    manifest
}

#[test]
fn debugging_page_shows_what_happens() {
    let mut page = Page::open("docs/debugging.md");
    let mut shell = Shell::new();
    for (name, guest) in [
        ("shop", "crash_p2"),
        ("report", "busy_p2"),
        ("search", "sleep_p2"),
        ("old", "silent_p2"),
        ("mail", "hostile_p2"),
        ("chatty", "chatty_p2"),
    ] {
        shell.put(&format!("{name}.wasm"), guest);
    }
    let bad = faulty("env = { ON_START = \"panic\" }\n");
    shell.put_bytes("host.toml", faulty("").as_bytes());
    shell.put_bytes("bad.toml", bad.as_bytes());
    // What each block looks for in the log, once its request has been answered.
    for says in [
        "request_id=",
        "with_tax",
        "(limits.memory)",
        "(limits.cpu-time)",
        "(limits.response-head-timeout)",
        "without a response",
        "(grants.outgoing)",
        "(limits.log-rate)",
    ] {
        page.run_with(&mut shell, |_, shell| {
            let has_asked = shell.last_command().starts_with("curl");
            if has_asked {
                shell.host().wait_log(says);
            }
        });
    }
    page.run(&mut shell);
    page.run(&mut shell);
    page.expect_end();
}

#[test]
fn guests_page_shows_what_happens() {
    let mut page = Page::open("docs/guests.md");
    let mut shell = Shell::new();
    shell.put("tally_p2.wasm", "tally_p2");
    shell.put("counter_p2.wasm", "counter_p2");
    page.run(&mut shell);
    page.run(&mut shell);
    page.expect_end();
}

#[test]
fn manifest_page_shows_what_happens() {
    let mut page = Page::open("docs/manifest.md");
    let mut shell = Shell::new();
    shell.put("shop.wasm", "hello_p2");
    let manifest = "[component.shop]\nsource = \"shop.wasm\"\n\
                    [[route]]\npath = \"/\"\ncomponent = \"shop\"\n";
    shell.put_bytes("host.toml", manifest.as_bytes());
    page.run(&mut shell);
    page.expect_end();
}

/// An exchange whose head is held back.
#[track_caller]
fn one_in_flight(host: &Host) -> Conn {
    let mut conn = host.connect();
    conn.send(POST_HEAD).expect("the host reads");
    host.wait_log(says::GATE_STARTED);
    conn
}

#[test]
fn stopping_page_shows_what_happens() {
    let mut page = Page::open("docs/stopping.md");
    let mut shell = Shell::new();
    shell.put("app.wasm", "gate_p2");
    let mut held = Vec::new();
    // Each of these commands has a host of its own, but the second signal, which needs a stop that lasts.
    page.run_with(&mut shell, |number, shell| {
        if number != 1 {
            shell.kill_hosts();
            shell.serve(&["app.wasm"]);
        }
        if number == 0 {
            held.push(one_in_flight(shell.host()));
        }
    });
    shell.kill_hosts();
    let mut conn = one_in_flight(shell.serve(&["app.wasm"]));
    page.run_until(&mut shell, "draining ", || conn.send(OPEN).expect("the host reads"));
    page.expect_end();
}

#[test]
fn swapping_page_shows_what_happens() {
    let mut page = Page::open("docs/swapping.md");
    let mut shell = Shell::new();
    shell.put("/srv/app.wasm", "version_a_p2");
    shell.put("NEW.wasm", "version_b_p2");
    shell.serve(&["/srv/app.wasm"]);
    page.run(&mut shell);
    shell.kill_hosts();

    reload_of_a_manifest(&mut page);

    shell.serve(&["/srv/app.wasm"]);
    shell.put_bytes("/srv/half.wasm", half(&bytes("version_b_p2")));
    page.run_with(&mut shell, |number, shell| match number {
        0 => shell.put("/srv/app.wasm", "version_b_p2"),
        3 => shell.put("/srv/app.wasm", "start_error_p2"),
        _ => {}
    });
    shell.kill_hosts();

    shell.put("/srv/app.wasm", "version_a_p2");
    let host = shell.serve(&["/srv/app.wasm"]);
    let mut held: Vec<Gate> = (0..2).map(|_| Gate::on(host)).collect();
    shell.put("/srv/app.wasm", "version_b_p2");
    shell.host().signal(Signal::HUP);
    shell.host().wait_log(says::SWAPPED);
    held.push(Gate::on(shell.host()));
    page.run(&mut shell);
    held.into_iter().for_each(|held| drop(held.open()));
    page.run(&mut shell);

    shell.put("build/app.wasm", "version_a_p3");
    page.run(&mut shell);
    shell.put("/srv/app.wasm", "version_b_p3");
    page.run(&mut shell);
    page.expect_end();
}

fn half(component: &[u8]) -> &[u8] {
    &component[..component.len() / 2]
}

/// One component more, another version of the second, and a listener that only a start can have.
#[track_caller]
fn reload_of_a_manifest(page: &mut Page) {
    let component = |name, path| {
        format!(
            "[component.{name}]\nsource = \"{name}.wasm\"\n[[route]]\npath = {path:?}\ncomponent = {name:?}\n"
        )
    };
    let mut shell = Shell::new();
    shell.put("/srv/shop.wasm", "hello_p2");
    shell.put("/srv/auth.wasm", "version_a_p2");
    shell.put_bytes("/srv/host.toml", component("auth", "/auth").as_bytes());
    shell.serve(&["/srv/host.toml"]);
    page.run_with(&mut shell, |number, shell| match number {
        0 => {
            let both = component("auth", "/auth") + &component("shop", "/shop");
            let listen = "[listen]\nhealth-addr = \"127.0.0.1:0\"\n";
            shell.put_bytes("/srv/host.toml", format!("{listen}{both}").as_bytes());
            shell.put("/srv/auth.wasm", "version_b_p2");
        }
        _ => shell.put_bytes("/srv/auth.wasm", half(&bytes("version_a_p2"))),
    });
}

#[test]
fn page_is_taken_for_what_it_shows() {
    let page = "```sh\n# a comment\nmake\n```\n\n```console\n$ one\n$ two\nits output\n```\n\
                <!-- not run: it takes long -->\n```sh\nmake soak\n```\n";
    let step = |command: &str, output: Option<&str>| Step {
        command: command.into(),
        output: output.map(Into::into),
    };
    let found: Vec<_> = blocks(page).into();
    assert_eq!(
        found,
        [
            (1, vec![step("make", None)]),
            (6, vec![step("one", Some("")), step("two", Some("its output\n"))]),
        ]
    );
}

#[test]
fn output_is_compared_but_for_what_is_never_the_same_twice() {
    let shown =
        "swapped: generation 1 to 2 in 87ms\nid=f6a20ef4753a4841 n=1\nid=e376a20a0ca9236f n=1\n";
    for (printed, same) in [
        (
            "swapped: generation 1 to 2 in 1.2s\nid=0000000000000001 n=1\nid=0000000000000002 n=1\n",
            true,
        ),
        (
            "swapped:  generation 1 to 2   in 9ms\nid=0000000000000002 n=1\nid=0000000000000001 n=1\n",
            true,
        ),
        (
            "swapped: generation 1 to 3 in 1.2s\nid=0000000000000001 n=1\nid=0000000000000002 n=1\n",
            false,
        ),
        (
            "swapped: generation 1 to 2 in 1.2s\nid=0000000000000001 n=1\nid=0000000000000001 n=1\n",
            false,
        ),
        ("swapped: generation 1 to 2 in 1.2s\nid=0000000000000001 n=1\n", false),
    ] {
        assert_eq!(matches(shown, printed), same, "{printed}");
    }
    assert!(matches(
        "rejected: …; try again\n  …\nend\n",
        "rejected: bad; try again\n  1\n  2\nend\n"
    ));
    assert!(!matches("rejected: …; try again\n  …\nend\n", "rejected: bad; try\n  1\nend\n"));
}
