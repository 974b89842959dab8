//! `host check`: everything is looked at, each thing is said with its name and its place, and scripts can
//! read it.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::app::{Folder, component as wasm, text};
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};

fn check(site: &Site, flags: &[&str]) -> Exit {
    Host::run(["check", "--no-cache", site.text()].into_iter().chain(flags.iter().copied()))
}

#[track_caller]
fn json(exit: &Exit) -> Value {
    serde_json::from_str(&exit.stdout).unwrap_or_else(|why| panic!("{why}: {}", exit.stdout))
}

/// It told the first of two, without its name or place.
#[test]
fn all_components_that_would_not_serve_are_named_with_their_lines() {
    let manifest = component("good")
        + &component("text")
        + &component("alien")
        + &component("traps")
        + &route("/", "good");
    let site = Site::with(&manifest, &[("good.wasm", "hello_p2"), ("traps.wasm", "start_trap_p3")]);
    site.put_bytes("text.wasm", b"hello, world\n");
    let alien = "(component (import \"acme:a/b@1.0.0\" (instance)) \
         (import \"wasi:nn/graph@0.2.0\" (instance)) (import \"wasi:keyvalue/watcher@0.2.0-draft\" \
         (instance)) (instance $i) (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))";
    site.put_bytes("alien.wasm", &wasm(alien));
    let exit = check(&site, &[]);
    exit.expect_code(3);
    assert_eq!(exit.stdout, "");
    // Below a trap its functions are listed.
    let lines: Vec<&str> = exit.stderr.lines().filter(|line| !line.starts_with("    ")).collect();
    assert_eq!(lines.len(), 3, "{}", exit.stderr);
    let line_of = |name: &str| {
        let header = format!("[component.{name}]");
        manifest.lines().position(|line| line == header).unwrap() + 1
    };
    for (name, says) in [
        ("text", &["is text, not a WebAssembly component"][..]),
        ("alien", &["acme:a/b@1.0.0, wasi:nn/graph@0.2.0, wasi:keyvalue/watcher@0.2.0-draft"]),
        ("alien", &["wasi:keyvalue (store, atomics, batch)", "which the host does not have"]),
        ("traps", &["does not start: guest trapped"]),
    ] {
        let begin = format!("{}:{}: component {name}: ", site.text(), line_of(name));
        let line = lines.iter().find(|line| line.contains(&begin));
        let line = line.unwrap_or_else(|| panic!("no {begin:?} in {}", exit.stderr));
        assert!(says.iter().all(|word| line.contains(word)), "{says:?}: {line}");
    }
    assert!(exit.stderr.contains("\n     0: function "), "{}", exit.stderr);
    let report = json(&check(&site, &["--json"]));
    assert_eq!(report["ok"], false);
    let alien = report["components"].as_array().unwrap().iter().find(|it| it["name"] == "alien");
    let alien = alien.unwrap();
    assert_eq!(alien["missing"].as_array().unwrap().len(), 3);
    assert_eq!(alien["place"]["line"], line_of("alien"));
    assert_eq!(alien["refused"]["step"], "check");
}

/// Each field, `components[].name` for one of an object in a list.
fn fields(value: &Value, before: &str, found: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().unwrap() {
        let name = format!("{before}{name}");
        if name == "components" || name == "listeners" {
            for each in value.as_array().unwrap() {
                fields(each, &format!("{name}[]."), found);
            }
        }
        found.insert(name);
    }
}

#[test]
fn json_has_the_fields_that_the_docs_name_and_no_others() {
    let site = Site::with(&component("one"), &[("one.wasm", "grants_p2")]);
    let exit = check(&site, &["--json"]);
    exit.expect_code(0);
    let report = json(&exit);
    assert_eq!(report["schema"], "host-check/1");
    assert_eq!(report["components"][0]["http"], "0.2");
    let mut found = BTreeSet::new();
    fields(&report, "", &mut found);
    let docs = include_str!("../docs/manifest.md");
    let (_, table) = docs.split_once("<!-- host check --json -->\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|')).skip(2);
    let named: BTreeSet<String> =
        rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect();
    assert_eq!(found, named);
}

/// Each was said to lack nothing.
#[test]
fn grants_that_can_never_be_used_are_warned_of_and_fail_a_strict_check() {
    let manifest = component("app")
        + "[component.app.grants]\noutgoing = [\"http://localhost:8080\"]\n\
           tcp = [\"tcp://db.localhost:5432\"]\n"
        + &component("plain")
        + "config = { k = \"v\" }\n[component.plain.grants]\n\
           outgoing = [\"https://example.com\"]\nrequest-shutdown = true\n"
        + &route("/", "app")
        + &route("/plain", "plain");
    let site = Site::with(&manifest, &[("app.wasm", "grants_p2"), ("plain.wasm", "hello_p2")]);
    let exit = check(&site, &[]);
    exit.expect_code(0);
    for warning in [
        "component app: it is granted http://localhost:8080 and can never reach it",
        "component app: it is granted tcp://db.localhost:5432 and can never reach it",
        "component plain: it is granted config and can never use it",
        "component plain: it is granted outgoing and can never use it",
        "component plain: it is granted request-shutdown and can never use it",
    ] {
        assert!(exit.stdout.contains(&format!("\nwarning: {warning}")), "{}", exit.stdout);
    }
    check(&site, &["--strict"]).expect_code(1);
    let exit = check(&site, &["--strict", "--json"]);
    exit.expect_code(1);
    assert_eq!(json(&exit)["warnings"].as_array().unwrap().len(), 5, "{}", exit.stdout);
    let manifest = component("app")
        + "[component.app.grants]\noutgoing = [\"http://localhost:8080\"]\n\
           outgoing-addresses = [\"loopback\"]\n"
        + &route("/", "app");
    site.write(&manifest);
    check(&site, &["--strict"]).expect_code(0);
}

#[test]
fn check_fills_the_cache_and_reads_it() {
    let folder = Folder::new();
    let cache = folder.join("cache");
    let app = guest("hello_p2");
    let check = || {
        Host::run(["check", text(&app), "--cache-dir", text(&cache)]).expect_code(0);
    };
    check();
    let entries = || -> Vec<_> {
        let entries = fs::read_dir(&cache).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().modified().unwrap()).collect()
    };
    assert_eq!(entries().len(), 1);
    let host = Host::serve("hello_p2").args(["--cache-dir", text(&cache)]).start();
    host.wait_log("cached=true");
    check();
    assert_eq!(entries().len(), 1);
}

#[test]
fn what_a_component_wants_is_shown_beside_what_it_is_given_and_gives_it_nothing() {
    let wants = "outgoing = ['https://api.example.com:443']\nconfig = ['rate', 'burst']\n\
                 env = [\"\\u001b[2J\"]";
    let hello = fs::read(guest("hello_p2")).unwrap();
    let manifest = component("app") + "config = { rate = \"1\", more = \"2\" }\n";
    let site = Site::new(&manifest);
    // A custom section at the end of the component: its number, its length, its name, its content.
    let name = b"\x0ahost:wants";
    let length = u8::try_from(name.len() + wants.len()).unwrap();
    assert!(length < 128, "one byte of LEB128");
    let head = [0, length];
    site.put_bytes("app.wasm", &[&hello[..], &head, name, wants.as_bytes()].concat());
    let exit = check(&site, &["--no-cache"]);
    exit.expect_code(0);
    for line in [
        "wants and has: config rate\n",
        "wants and lacks: config burst, env \\u{1b}[2J, outgoing https://api.example.com:443\n",
        "has and does not want: config more\n",
    ] {
        assert!(exit.stdout.contains(line), "{line}: {}", exit.stdout);
    }
    let report = json(&check(&site, &["--json", "--no-cache"]));
    assert_eq!(report["components"][0]["wants"].as_array().unwrap().len(), 4);
    assert_eq!(report["components"][0]["not_wanted"][0]["what"], "more");
}
