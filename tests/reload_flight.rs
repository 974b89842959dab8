//! What is under way through a reload of a manifest, and commands about one component of several.

use serde_json::Value;

use crate::support::app::{reload, version, version_h2};
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};
use crate::support::status::{ctl_json, json, status, wait_in_flight};
use crate::support::stop::Held;
use crate::support::wire;

/// Reloads, and expects that something has changed.
#[track_caller]
fn expect_reloaded(host: &Host) -> String {
    let outcome = reload(host);
    assert!(outcome.contains("swap: reloaded in "), "{outcome}");
    outcome
}

/// The generations of the component `name`, newest first: number, state and in flight.
#[track_caller]
fn generations(host: &Host, name: &str) -> Vec<(u64, String, u64)> {
    let all = ctl_json(host, "generations");
    let all = all["generations"].as_array().expect("a list").clone();
    let of = |one: &Value| {
        let state = one["state"].as_str().expect("a word").to_owned();
        (one["number"].as_u64().unwrap(), state, one["in_flight"].as_u64().unwrap())
    };
    all.iter().filter(|one| one["component"] == name).map(of).collect()
}

const OTHER: &str = "other";

/// `gate` and `other`, and the routes to both.
fn two(table: &str) -> String {
    component("gate") + table + &component(OTHER) + &route("/", "gate") + &route("/other", OTHER)
}

fn only_other() -> String {
    component(OTHER) + &route("/other", OTHER)
}

#[test]
fn requests_in_flight_on_a_component_that_is_removed_finish_and_the_next_one_finds_no_route() {
    for guest in ["gate_p2", "gate_p3"] {
        let files = [("gate.wasm", guest), ("other.wasm", "version_a_p2")];
        let site = Site::with(&two(""), &files);
        let host = site.serve().control().start();
        let held = Held::on(&host);
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/", false);
        assert_eq!(h2.expect_status(1), 200);
        site.write(&only_other());
        let outcome = expect_reloaded(&host);
        assert!(outcome.contains("; removed: gate; routes changed"), "{outcome}");
        let [(1, state, 2)] = &generations(&host, "gate")[..] else {
            panic!("{:?}", generations(&host, "gate"));
        };
        assert_eq!(state, "retired", "no rollback brings it back");
        assert_eq!(host.get("/").status(), 404);
        h2.get(3, "/");
        assert_eq!(h2.expect_answer(3).status, 404);
        let mut conn = held.open();
        assert_eq!(conn.get("/").unwrap().status(), 404);
        assert_eq!(version(&conn.get("/other").unwrap()), "a", "the connection goes on");
        // `other` is alone now, and may have more instances: it is on another generation too.
        let gone = format!("{} generation=1", says::RETIRED_GONE);
        assert!(!host.log().contains(&gone));
        h2.send_data(1, b"", true);
        while !h2.expect_data(1).1 {}
        host.wait_log(&gone);
        assert_eq!(generations(&host, "gate"), []);
    }
}

#[test]
fn what_runs_on_a_component_that_was_removed_is_cut_when_its_time_is_up() {
    let files = [("gate.wasm", "gate_p2"), ("other.wasm", "version_a_p2")];
    let swap = "[swap]\nretire-timeout = \"300ms\"\n";
    let site = Site::with(&(swap.to_owned() + &two("")), &files);
    let host = site.serve().start();
    let held = Held::on(&host);
    site.write(&(swap.to_owned() + &only_other()));
    expect_reloaded(&host);
    let (mut conn, head) = held.into_conn();
    wire::assert_broken(conn.read_body(&head, "POST"));
    host.wait_log(says::RETIRED_GONE);
}

/// What a reload does to the component in whose queue a request waits.
#[derive(Clone, Copy, Debug)]
enum Change {
    Removed,
    Swapped,
    Limits,
}

const ONE: &str = "[component.gate.limits]\ninstances = 1\nqueue-timeout = \"30s\"\n";

#[test]
fn request_that_waits_in_the_queue_of_a_component_through_a_reload_is_served() {
    for change in [Change::Removed, Change::Swapped, Change::Limits] {
        for guest in ["gate_p2", "gate_p3"] {
            let files = [("gate.wasm", guest), ("other.wasm", "version_a_p2")];
            let site = Site::with(&two(ONE), &files);
            let host = site.serve().control().start();
            let held = Held::on(&host);
            let mut waits = host.connect();
            waits.send(wire::get("/")).unwrap();
            let mut h2 = H2::connect(host.addr());
            h2.get(1, "/");
            wait_in_flight(&host, 3);
            match change {
                Change::Removed => site.write(&only_other()),
                Change::Swapped => site.put("gate.wasm", "version_b_p2"),
                Change::Limits => site.write(&two(&format!("{ONE}handles = 500\n"))),
            }
            expect_reloaded(&host);
            drop(held.open());
            let (answer, answer_h2) = (waits.read_response("GET").unwrap(), h2.expect_answer(1));
            if let Change::Swapped = change {
                assert_eq!((version(&answer), version_h2(&answer_h2)), ("b".into(), "b".into()));
            } else {
                let texts = (answer.text(), String::from_utf8(answer_h2.body).unwrap());
                let whole = "started\ndone\n".to_owned();
                assert_eq!(texts, (whole.clone(), whole), "{change:?} {guest}: {answer}");
            }
        }
    }
}

/// The pool of the process is full of what was begun before the reload; who comes after it waits, as
/// it would without one.
#[test]
fn request_after_a_reload_of_limits_waits_for_the_instances_that_are_taken() {
    for guest in ["gate_p2", "gate_p3"] {
        let total = "[total]\ninstances = 1\n[limits]\nqueue-timeout = \"30s\"\n";
        let manifest = |more: &str| total.to_owned() + more + &component("gate");
        let site = Site::with(&manifest(""), &[("gate.wasm", guest)]);
        let host = site.serve().control().start();
        let held = Held::on(&host);
        site.write(&manifest("handles = 500\n"));
        expect_reloaded(&host);
        let mut waits = host.connect();
        waits.send(wire::get("/")).unwrap();
        wait_in_flight(&host, 2);
        drop(held.open());
        let answer = waits.read_response("GET").unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "started\ndone\n"), "{guest}");
    }
}

/// It is on its way: through the plugin, to a component that is removed meanwhile.
#[test]
fn request_that_waits_for_a_plugin_reaches_its_component_though_that_is_removed() {
    for (plugin, guest) in [("mark_p2", "gate_p2"), ("mark_p3", "gate_p3")] {
        let limits = "[component.mark.limits]\ninstances = 1\nqueue-timeout = \"30s\"\n";
        let chain = "chain = [\"mark\"]\n";
        let manifest =
            component("mark") + limits + &two("").replacen("[[route]]\n", "[[route]]\nXX", 1);
        let manifest = manifest.replace("XX", chain);
        let files = [("mark.wasm", plugin), ("gate.wasm", guest), ("other.wasm", "version_a_p2")];
        let site = Site::with(&manifest, &files);
        let host = site.serve().control().start();
        let held = Held::on(&host);
        let mut waits = host.connect();
        waits.send(wire::get("/")).unwrap();
        wait_in_flight(&host, 2);
        let plugin = component("mark") + limits;
        site.write(&(plugin + &only_other()));
        expect_reloaded(&host);
        drop(held.open());
        let answer = waits.read_response("GET").unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "started\ndone\n"), "{guest}");
    }
}

#[test]
fn reuse_that_a_reload_grants_takes_no_instances_from_the_other_components() {
    let total = "[total]\ninstances = 2\n[limits]\ninstances = 2\nqueue-timeout = \"30s\"\n";
    let manifest = |reuse: &str| {
        total.to_owned() + &component("one") + reuse + &only_other() + &route("/", "one")
    };
    let files = [("one.wasm", "gate_p3"), ("other.wasm", "version_a_p3")];
    let site = Site::with(&manifest(""), &files);
    let host = site.serve().start();
    site.write(&manifest("[component.one.reuse]\nexchanges = 100\nidle = \"1m\"\n"));
    expect_reloaded(&host);
    let held = [Held::on(&host), Held::on(&host)];
    held.into_iter().for_each(|held| drop(held.open()));
    // Both instances of `one` are kept, and idle.
    for _ in 0..4 {
        assert_eq!(version(&host.get("/other")), "a");
    }
}

#[test]
fn swap_and_rollback_go_to_the_component_that_is_named() {
    let manifest = component("one") + &component("two") + &route("/1", "one") + &route("/2", "two");
    let files = [("one.wasm", "version_a_p2"), ("two.wasm", "version_a_p3")];
    let site = Site::with(&manifest, &files);
    let host = site.serve().control().start();
    let letters = || version(&host.get("/1")) + &version(&host.get("/2"));
    let other = guest("version_b_p3");
    let other = other.to_str().unwrap();
    let several = "there is more than one component; name one with --component: one, two";
    host.ctl(["swap", other]).expect_code(1).expect_last_line(several);
    host.ctl(["rollback"]).expect_code(1).expect_last_line(several);
    let nobody = "there is no component tow; there are: one, two";
    host.ctl(["swap", "--component", "tow", other]).expect_code(1).expect_last_line(nobody);
    host.ctl(["rollback", "--component", "tow"]).expect_code(1).expect_last_line(nobody);
    let none = "there is no previous generation to go back to";
    host.ctl(["rollback", "--component", "two"]).expect_code(1).expect_last_line(none);
    assert_eq!(letters(), "aa");
    let answer = json(&host.ctl(["--json", "swap", "--component", "two", other]));
    assert_eq!((&answer["outcome"], &answer["to"]), (&"swapped".into(), &3.into()), "{answer}");
    assert_eq!(letters(), "ab");
    host.ctl(["rollback", "--component", "one"]).expect_code(1).expect_last_line(none);
    host.ctl(["rollback", "--component", "two"]).expect_code(0);
    assert_eq!(letters(), "aa");
    host.ctl(["rollback", "--component", "two"]).expect_code(0);
    assert_eq!(letters(), "ab");
    // The manifest says what is served; a reload comes back to it.
    let outcome = expect_reloaded(&host);
    assert!(outcome.contains("; changed: two") && !outcome.contains("one"), "{outcome}");
    assert_eq!(letters(), "aa");
}

#[test]
fn status_and_generations_name_the_components() {
    let manifest = two("[component.gate.limits]\ninstances = 7\n");
    let files = [("gate.wasm", "gate_p2"), ("other.wasm", "version_a_p3")];
    let site = Site::with(&manifest, &files);
    let host = site.serve().control().start();
    let held = Held::on(&host);
    site.put("other.wasm", "version_b_p3");
    expect_reloaded(&host);
    let status = status(&host);
    let one = |at: usize| status["components"][at].clone();
    assert_eq!(status["components"].as_array().map(Vec::len), Some(2), "{status}");
    assert_eq!((&one(0)["name"], &one(0)["generation"]), (&"gate".into(), &1.into()));
    assert_eq!(one(0)["instances"], serde_json::json!({ "in_use": 1, "limit": 7 }));
    assert_eq!((&one(1)["name"], &one(1)["generation"]), (&"other".into(), &3.into()));
    let current = |number, in_flight| (number, "current".to_owned(), in_flight);
    assert_eq!(generations(&host, "gate"), [current(1, 1)]);
    assert_eq!(generations(&host, OTHER), [current(3, 0), (2, "previous".to_owned(), 0)]);
    let text = host.ctl(["status"]).stdout;
    for words in [
        "COMPONENT  REQ/S",
        "\ngate       0 ",
        " 1/7        1 ",
        "\nother      0 ",
        " 3           ",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    drop(held.open());
}

/// docs/swapping.md: `--watch` reads it when the file itself changes, and not before.
#[test]
fn what_was_rolled_back_stays_so_when_the_file_of_another_component_changes() {
    let manifest = component("one") + &component("two") + &route("/1", "one") + &route("/2", "two");
    let files = [("one.wasm", "version_a_p2"), ("two.wasm", "version_a_p2")];
    let site = Site::with(&manifest, &files);
    let host = site.serve().control().args(["--watch"]).start();
    host.wait_log(says::WATCHING);
    site.put("one.wasm", "version_b_p2");
    host.wait_log("; changed: one");
    host.ctl(["rollback", "--component", "one"]).expect_code(0);
    assert_eq!(version(&host.get("/1")), "a");
    let mark = host.mark();
    site.put("two.wasm", "version_b_p2");
    host.wait_log_after(mark, "swap: reloaded in ");
    assert_eq!(version(&host.get("/2")), "b");
    assert_eq!(version(&host.get("/1")), "a", "what was rolled back serves on");
}

/// Limits are not code: a rollback goes back to other code.
#[test]
fn rollback_after_a_change_of_limits_goes_back_to_the_code_before() {
    let manifest = |limits: &str| component("one") + limits;
    let site = Site::with(&manifest(""), &[("one.wasm", "version_a_p2")]);
    let host = site.serve().control().start();
    site.put("one.wasm", "version_b_p2");
    expect_reloaded(&host);
    site.write(&manifest("[component.one.limits]\nhandles = 500\n"));
    expect_reloaded(&host);
    assert_eq!(version(&host.get("/")), "b");
    host.ctl(["rollback"]).expect_code(0);
    assert_eq!(version(&host.get("/")), "a");
}
