//! Components that mean harm when they are loaded, beside a good one.

use crate::hostile::{beside_a_good_one, manifest};
use crate::support::app::{App, component, expect_swapped, reload, swap_to};
use crate::support::neighbour::Neighbour;
use crate::support::prelude::*;

#[test]
fn component_of_any_shape_is_loaded_after_one_of_another() {
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest/wat/table.wat");
    // By name: `good` is loaded after `bad`, and `bad` alone after the change.
    let site = beside_a_good_one("guest:trap_p2", "");
    let host = site.serve().start();
    for bad in [table, "guest:trap_p2", table] {
        site.write(&manifest(bad, ""));
        let outcome = reload(&host);
        assert!(outcome.contains("changed: bad "), "{outcome}");
        assert_eq!(host.get("/bad").status(), 500);
        assert_eq!(host.get("/good").text(), "hello world\n");
    }
    beside_a_good_one(table, "").serve().start();
}

#[test]
fn component_without_a_memory_can_be_replaced_by_one_with() {
    let app = App::new("hello_p2");
    let table = component(include_str!("../guest/wat/table.wat"));
    app.put_bytes(&table);
    let host = app.serve().start();
    assert_eq!(host.get("/").status(), 500);
    swap_to(&host, &app, "hello_p2");
    assert_eq!(host.get("/").text(), "hello world\n");
    app.put_bytes(&table);
    expect_swapped(&reload(&host));
    swap_to(&host, &app, "hello_p3");
    assert_eq!(host.get("/").status(), 200);
}

#[test]
fn loop_at_the_start_is_refused_and_nothing_else_changes() {
    for guest in ["start_spin_p2", "start_spin_p3"] {
        let more = "[component.bad.limits]\nhook-timeout = \"300ms\"";
        let site = beside_a_good_one("bad.wasm", more);
        site.put("bad.wasm", guest);
        let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");
        let refused = [
            "serve",
            site.text(),
            "--addr",
            "127.0.0.1:0",
            "--control",
            "off",
            "--cache-dir",
            cache,
        ];
        let exit = Host::run(refused);
        exit.expect_code(3);
        assert!(exit.stderr.contains("on-start"), "{}", exit.stderr);
        assert_eq!(exit.stdout, "", "never ready");
        site.put("bad.wasm", "hello_p2");
        let host = site.serve().start();
        let neighbour = Neighbour::at(&host, "/good");
        site.put("bad.wasm", guest);
        let outcome = reload(&host);
        assert!(outcome.contains(says::REJECTED), "{outcome}");
        assert_eq!(host.get("/bad").text(), "hello world\n", "the one before serves on");
        neighbour.expect_clean_stop(host);
    }
}
