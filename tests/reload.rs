//! A reload of a manifest: all of it is in force from one moment on, or nothing of it.

use serde_json::{Value, json};

use crate::support::app::{reload, slow_to_compile, version};
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};
use crate::support::status::{ctl_json, json, status};

/// What a reload by `host ctl` has changed: added, changed, removed; and whether routes have.
#[track_caller]
fn changes(host: &Host) -> (Value, Value, Value, bool) {
    let exit = host.ctl(["--json", "reload"]);
    exit.expect_code(0);
    let answer = json(&exit);
    assert_eq!(answer["outcome"], "reloaded", "{answer}");
    assert!(answer["took_ms"].is_u64(), "{answer}");
    let routes = answer["routes"].as_bool().expect("it says so");
    (answer["added"].clone(), answer["changed"].clone(), answer["removed"].clone(), routes)
}

/// The status of a request, and which version has answered.
#[track_caller]
fn get(host: &Host, path: &str) -> (u16, Option<String>) {
    let answer = host.get(path);
    (answer.status(), answer.header("x-version").map(str::to_owned))
}

fn served(version: &str) -> (u16, Option<String>) {
    (200, Some(version.to_owned()))
}

const NOT_THERE: (u16, Option<String>) = (404, None);

const FILES: [(&str, &str); 5] = [
    ("gone.wasm", "version_a_p2"),
    ("kept.wasm", "version_a_p3"),
    ("file.wasm", "version_a_p2"),
    ("limits.wasm", "echo_p3"),
    ("added.wasm", "version_b_p3"),
];

fn before() -> String {
    let routes = ["gone", "kept", "file", "limits"].map(|name| route(&format!("/{name}"), name));
    ["gone", "kept", "file", "limits"].map(component).concat() + &routes.concat()
}

/// One is removed, one added, one has a limit, and one a second route.
fn after() -> String {
    let routes = ["added", "kept", "file", "limits"].map(|name| route(&format!("/{name}"), name));
    let limits = "[component.limits.limits]\nrequest-body = \"3B\"\n";
    let again = route("/again", "kept");
    ["added", "kept", "file", "limits"].map(component).concat() + limits + &routes.concat() + &again
}

/// The status of a request with a body of four bytes.
#[track_caller]
fn four_bytes(host: &Host) -> u16 {
    let mut conn = host.connect();
    conn.send("POST /limits HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nfour").unwrap();
    conn.read_response("POST").unwrap().status()
}

#[track_caller]
fn expect_before(host: &Host) {
    for path in ["/gone", "/kept", "/file"] {
        assert_eq!(get(host, path), served("a"), "{path}");
    }
    for path in ["/added", "/again"] {
        assert_eq!(get(host, path), NOT_THERE, "{path}");
    }
    assert_eq!(four_bytes(host), 200);
}

#[track_caller]
fn expect_after(host: &Host) {
    for (path, expected) in [
        ("/gone", NOT_THERE),
        ("/kept", served("a")),
        ("/again", served("a")),
        ("/file", served("b")),
        ("/added", served("b")),
    ] {
        assert_eq!(get(host, path), expected, "{path}");
    }
    assert_eq!(four_bytes(host), 413);
}

#[test]
fn reload_adds_removes_swaps_limits_and_routes_as_one() {
    for by_signal in [true, false] {
        let site = Site::with(&before(), &FILES);
        let host = site.serve().control().start();
        expect_before(&host);
        site.put("file.wasm", "version_b_p2");
        site.write(&after());
        expect_before(&host);
        if by_signal {
            let outcome = reload(&host);
            let words = "; added: added; changed: file, limits; removed: gone; routes changed";
            assert!(outcome.contains("swap: reloaded in ") && outcome.contains(words), "{outcome}");
            assert!(!outcome.contains("restart"), "{outcome}");
        } else {
            let changes = changes(&host);
            let expected = (json!(["added"]), json!(["file", "limits"]), json!(["gone"]), true);
            assert_eq!(changes, expected);
        }
        expect_after(&host);
        host.wait_log_nth(says::RETIRED_GONE, 3);
        // And back.
        site.put("file.wasm", "version_a_p3");
        site.write(&before());
        let expected = (json!(["gone"]), json!(["file", "limits"]), json!(["added"]), true);
        assert_eq!(changes(&host), expected);
        expect_before(&host);
    }
}

#[test]
fn reload_by_ctl_says_in_words_what_it_has_changed() {
    let site = Site::with(&before(), &FILES);
    let host = site.serve().control().start();
    site.write(&after());
    let exit = host.ctl(["reload"]);
    exit.expect_code(0);
    let words = ": added added; changed limits; removed gone; routes changed\n";
    assert!(exit.stdout.starts_with("reloaded in ") && exit.stdout.ends_with(words), "{exit:?}");
    let status = status(&host);
    assert_eq!(status["last_swap"]["outcome"], "reloaded", "{status}");
    assert_eq!(status["last_swap"]["trigger"], "host ctl");
    assert_eq!(status["last_swap"]["added"], json!(["added"]));
}

#[test]
fn watch_takes_a_manifest_that_changes_and_the_files_that_it_names_then() {
    let site = Site::with(&before(), &FILES);
    let host = site.serve().args(["--watch"]).start();
    host.wait_log(says::WATCHING);
    site.put("file.wasm", "version_b_p2");
    let swapped = host.wait_log("swap: reloaded in ");
    assert!(swapped.contains("asked=\"--watch\""), "{swapped}");
    assert!(swapped.contains("; changed: file"), "{swapped}");
    let mark = host.mark();
    site.write(&after());
    host.wait_log_after(mark, "; added: added; changed: limits; removed: gone; routes changed");
    expect_after(&host);
    // That of the component which was added is watched now.
    let mark = host.mark();
    site.put("added.wasm", "version_a_p2");
    host.wait_log_after(mark, "; changed: added");
    assert_eq!(get(&host, "/added"), served("a"));
    // A manifest that is wrong is said, and the next one taken.
    let mark = host.mark();
    site.write("[component.x]\n");
    let rejected = host.wait_log_after(mark, says::REJECTED);
    assert!(rejected.contains("host.toml:1:1: `component.x` has no `source`"), "{rejected}");
    assert_eq!(get(&host, "/added"), served("a"));
    let mark = host.mark();
    site.put("file.wasm", "version_a_p2");
    site.write(&before());
    host.wait_log_after(mark, "removed: added");
    assert_eq!(get(&host, "/gone"), served("a"));
}

#[test]
fn reload_of_which_one_component_cannot_serve_changes_nothing() {
    for (spoil, step, words) in [
        (&b"\0asm\x01\0\0\0"[..], "check", "core WebAssembly module"),
        (&b""[..], "check", "added.wasm"),
    ] {
        let site = Site::with(&before(), &FILES);
        let host = site.serve().control().start();
        site.put("file.wasm", "version_b_p2");
        site.put_bytes("added.wasm", spoil);
        site.write(&after());
        let outcome = reload(&host);
        let begin = format!("{}{step}: component added: ", says::REJECTED);
        assert!(outcome.contains(&begin) && outcome.contains(words), "{outcome}");
        let exit = host.ctl(["reload"]);
        exit.expect_code(1).expect_last_line(&format!("rejected ({step}): component added: "));
        assert_eq!(exit.stdout, "");
        expect_before(&host);
        let status = status(&host);
        assert_eq!(status["last_swap"]["outcome"], "rejected", "{status}");
        assert_eq!(status["last_swap"]["step"], step);
        assert!(!host.log().contains(says::RETIRED_GONE), "{}", host.log());
        site.put("added.wasm", "version_b_p3");
        let expected = (json!(["added"]), json!(["file", "limits"]), json!(["gone"]), true);
        assert_eq!(changes(&host), expected, "the next good one is taken");
        expect_after(&host);
    }
}

#[test]
fn component_that_does_not_start_or_fails_its_smoke_request_stops_the_reload() {
    for (guest, smoke, step, words) in [
        ("start_trap_p2", "", "on-start", "does not start: "),
        ("start_error_p3", "", "on-start", "does not start: "),
        ("version_b_p2", "smoke = [\"GET / 404\"]\n", "smoke", "the answer is 200"),
    ] {
        let site = Site::with(&before(), &FILES);
        let host = site.serve().control().start();
        site.put("added.wasm", guest);
        let manifest =
            after().replacen("[component.kept]\n", &format!("{smoke}[component.kept]\n"), 1);
        site.write(&manifest);
        let exit = host.ctl(["reload"]);
        exit.expect_code(1).expect_last_line(&format!("rejected ({step}): component added: "));
        exit.expect_last_line(words);
        expect_before(&host);
    }
}

#[test]
fn manifest_that_is_wrong_changes_nothing_and_is_refused_with_its_place() {
    let site = Site::with(&before(), &FILES);
    let host = site.serve().control().start();
    let again = || host.ctl(["reload"]);
    for (text, words) in [
        ("[component.a]\nsource = \"kept.wasm\"\nmemroy = 1\n", "host.toml:3:1: "),
        ("[component.a\n", "host.toml:1:13: "),
        ("[component.a]\nsource = \"nowhere.wasm\"\n", "nowhere.wasm is not there"),
        ("[component.a]\nsource = \"kept.wasm\"\nargs = [\"${HOST_E2E_NOT_SET}\"]\n", "not set"),
        ("", "the manifest has no component"),
    ] {
        site.write(text);
        let exit = again();
        exit.expect_code(1).expect_last_line("rejected (manifest): ");
        exit.expect_last_line(words);
        expect_before(&host);
    }
    std::fs::remove_file(site.file("host.toml")).unwrap();
    again().expect_code(1).expect_last_line("cannot be read");
    expect_before(&host);
    site.write(&before());
    assert_eq!(changes(&host), (json!([]), json!([]), json!([]), false));
}

#[test]
fn reload_of_what_is_served_already_says_unchanged_and_makes_no_generation() {
    let site = Site::with(&before(), &FILES);
    let host = site.serve().control().start();
    let numbers = |host: &Host| {
        let all = ctl_json(host, "generations");
        let all = all["generations"].as_array().expect("a list").clone();
        all.iter().map(|one| one["number"].clone()).collect::<Vec<_>>()
    };
    let first = numbers(&host);
    assert_eq!(first.len(), 4);
    assert!(reload(&host).contains(says::UNCHANGED));
    // Other bytes of the same meaning, and the same bytes in other files.
    site.write(&(before() + "# nothing\n"));
    site.put("kept.wasm", "version_a_p3");
    let exit = host.ctl(["reload"]);
    exit.expect_code(0);
    assert_eq!(exit.stdout, "unchanged: what is served is what the manifest says\n");
    assert_eq!(changes(&host), (json!([]), json!([]), json!([]), false));
    assert_eq!(numbers(&host), first);
}

#[test]
fn what_takes_a_restart_is_said_and_stays_as_it_was() {
    let site = Site::with(&before(), &FILES);
    let host = site.serve().control().start();
    let restart = || {
        let answer = json(&host.ctl(["--json", "reload"]));
        assert_eq!(answer["outcome"], "reloaded", "{answer}");
        (answer["restart"].clone(), answer["routes"].clone())
    };
    for (table, name) in [
        ("[listen]\nmax-connections = 1\n", "[listen]"),
        ("[listen]\nhealth-addr = \"127.0.0.1:1\"\n", "[listen]"),
        ("[stop]\ndrain-timeout = \"1s\"\n", "[stop]"),
        ("[swap]\nmax-retired = 1\n", "[swap]"),
        ("[total]\nmemory = \"1GiB\"\n", "[total]"),
    ] {
        site.write(&(table.to_owned() + &before()));
        assert_eq!(restart(), (json!([name]), json!(false)), "{table}");
        assert_eq!(restart().0, json!([name]), "as long as it is so");
        let exit = host.ctl(["reload"]);
        exit.expect_code(0);
        assert!(exit.stdout.contains(&format!("needs a restart: {name}\n")), "{exit:?}");
        assert!(reload(&host).contains(&format!("needs a restart: {name}")));
    }
    // It comes from the limits of components, and is of use at once where it is less.
    for (idle, says) in [("29s", json!([])), ("31s", json!(["body-idle-timeout"]))] {
        site.write(&(format!("[limits]\nbody-idle-timeout = \"{idle}\"\n") + &before()));
        assert_eq!(restart().0, says, "{idle}");
    }
    site.write(&before());
    assert_eq!(restart().0, json!([]));
    let both = "[listen]\nmax-connections = 1\n[stop]\nlinger = \"2s\"\n".to_owned() + &after();
    site.write(&both);
    assert_eq!(restart(), (json!(["[listen]", "[stop]"]), json!(true)));
    let conns: Vec<Conn> = (0..3).map(|_| host.connect()).collect();
    assert_eq!(
        get(&host, "/added"),
        served("b"),
        "the rest is in force, and so are the limits before"
    );
    drop(conns);
    site.write(&after());
    assert_eq!(restart().0, json!([]));
}

#[test]
fn stop_wins_over_a_reload_that_compiles() {
    // One to compile before it is ready, none of which is in a cache.
    let site = Site::with(&component("gone"), &FILES);
    let host = site.serve().control().args(["--no-cache"]).start();
    site.put_bytes("added.wasm", &slow_to_compile());
    site.write(&after());
    let asked = host.start_ctl(["reload"]);
    host.wait_log(says::SWAP_BEGINS);
    assert_eq!(version(&host.get("/gone")), "a", "it serves meanwhile");
    host.signal(Signal::TERM);
    let rejected = host.wait_log(says::REJECTED);
    assert!(rejected.contains("the host is stopping"), "{rejected}");
    asked.wait_exit().expect_code(1).expect_last_line("the host is stopping");
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}
