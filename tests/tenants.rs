//! Many tenants with `total.code-memory`: code that has not run for longest is given back, and mapped again when a request
//! needs it.

use std::fs;

use crate::support::app::{bytes, reload, slower, text, variant, version};
use crate::support::gate::Gate;
use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};

/// A site with a file for each of these tenants, and this bound.
fn site(code_memory: Option<f64>, tenants: &[(&str, Vec<u8>)]) -> Site {
    let bound =
        code_memory.map_or(String::new(), |bytes| format!("[total]\ncode-memory = \"{bytes}B\"\n"));
    let site = Site::new(&format!("include = \"tenants/*.toml\"\n{bound}"));
    for (name, bytes) in tenants {
        site.put_bytes(&format!("tenants/{name}.wasm"), bytes);
        let table = component(name) + &route(&format!("/{name}"), name) + "strip-prefix = true\n";
        site.put_text(&format!("tenants/{name}.toml"), &table);
    }
    site
}

fn serve(site: &Site) -> Serve {
    let cache = site.folder.join("cache");
    site.serve().args(metrics::ARGS).args(["--cache-dir", text(&cache)]).control()
}

fn mapped(told: &Metrics, tenant: &str) -> f64 {
    told.sum("host_code_mapped_bytes", &[("host_component", tenant)])
}

fn all_mapped(told: &Metrics) -> f64 {
    told.sum("host_code_mapped_bytes", &[])
}

/// How often code of a tenant was loaded, from the cache and by the compiler.
fn loads(host: &Host, tenant: &str) -> [f64; 2] {
    let told = Metrics::of(host);
    let from = |source| {
        told.sum("host_code_loads_total", &[("host_component", tenant), ("source", source)])
    };
    [from("cache"), from("compiler")]
}

/// How much code these tenants have, all together.
fn measured(tenants: &[(&str, Vec<u8>)]) -> f64 {
    let site = site(None, tenants);
    let host = serve(&site).start();
    let all = all_mapped(&Metrics::of(&host));
    assert!(all > 10_000.0 * tenants.len() as f64, "{all}");
    all
}

#[test]
fn code_that_has_not_run_for_longest_is_given_back_and_mapped_again() {
    let tenants: [(&str, Vec<u8>); 8] = [
        ("a", variant("hello_p2", 1)),
        ("b", variant("hello_p2", 2)),
        ("c", variant("hello_p2", 3)),
        ("d", variant("hello_p2", 4)),
        ("e", variant("hello_p3", 5)),
        ("f", variant("hello_p3", 6)),
        ("g", variant("hello_p3", 7)),
        ("h", variant("hello_p3", 8)),
    ];
    let limit = (measured(&tenants) / 2.0).floor();
    let site = site(Some(limit), &tenants);
    let host = serve(&site).start();
    let within = || {
        let all = all_mapped(&Metrics::of(&host));
        assert!(all > 0.0 && all <= limit, "{all} of {limit}");
    };
    within();
    let mut conn = host.connect();
    for _ in 0..3 {
        for (name, _) in &tenants {
            assert_eq!(conn.get(&format!("/{name}")).unwrap().text(), "hello world\n");
            within();
        }
    }
    let [cached, compiled] = loads(&host, "a");
    assert!(cached >= 3.0 && compiled == 1.0, "{cached} {compiled}");
    // What runs is not loaded again.
    assert_eq!(conn.get("/a").unwrap().status(), 200);
    let before = loads(&host, "a");
    for _ in 0..20 {
        assert_eq!(conn.get("/a").unwrap().status(), 200);
    }
    assert_eq!(loads(&host, "a"), before);
    // Others come and go, and it runs now and then: it stays.
    for (name, _) in tenants[1..].iter().cycle().take(21) {
        assert_eq!(conn.get(&format!("/{name}")).unwrap().status(), 200);
        assert_eq!(conn.get("/a").unwrap().status(), 200);
    }
    assert_eq!(loads(&host, "a"), before);
}

#[test]
fn an_exchange_keeps_its_code_and_so_does_an_instance_that_is_reused() {
    let tenants = [
        ("held", bytes("version_a_p2")),
        ("held3", bytes("version_a_p3")),
        ("x", variant("hello_p2", 1)),
        ("y", variant("hello_p3", 2)),
    ];
    let site = site(Some(1.0), &tenants);
    site.put_text(
        "tenants/held3.toml",
        &(component("held3")
            + "reuse = { exchanges = 10, concurrency = 2 }\n"
            + &route("/held3", "held3")
            + "strip-prefix = true\n"
            + &route("/gate", "held")),
    );
    let host = serve(&site).start();
    let gate = Gate::on(&host);
    assert_eq!(version(&host.get("/held3/")), "a");
    for _ in 0..3 {
        for name in ["x", "y"] {
            assert_eq!(host.get(&format!("/{name}")).status(), 200);
        }
    }
    let told = Metrics::of(&host);
    assert!(mapped(&told, "held") > 0.0 && mapped(&told, "held3") > 0.0, "{told:?}");
    assert_eq!(mapped(&told, "x"), 0.0, "{told:?}");
    gate.open();
    for name in ["x", "y", "x", "y"] {
        assert_eq!(host.get(&format!("/{name}")).status(), 200);
    }
    let told = Metrics::wait(&host, |told| mapped(told, "held") == 0.0);
    assert!(mapped(&told, "held3") > 0.0, "its instance waits for the next request");
    assert_eq!(version(&host.get("/held/")), "a");
    assert_eq!(version(&host.get("/held3/")), "a");
}

/// Removes all that the code cache has.
fn empty_the_cache(site: &Site) {
    for entry in fs::read_dir(site.folder.join("cache")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

/// The code cache may be swept or removed at any time.
#[test]
fn code_that_the_cache_has_lost_is_compiled_again_but_never_from_another_file() {
    let tenants = [("a", variant("version_a_p2", 1)), ("b", variant("hello_p2", 2))];
    let site = site(Some(1.0), &tenants);
    let host = serve(&site).start();
    let lose = || {
        // The other one takes the place of its code.
        assert_eq!(host.get("/b").status(), 200);
        assert_eq!(mapped(&Metrics::of(&host), "a"), 0.0);
        empty_the_cache(&site);
    };
    let serves = || version(&host.get("/a/"));
    assert_eq!(serves(), "a");
    let before = loads(&host, "a");
    lose();
    assert_eq!(serves(), "a");
    assert_eq!(loads(&host, "a"), [before[0], before[1] + 1.0]);
    lose();
    site.put("tenants/a.wasm", "version_b_p2");
    let refused = host.get("/a/");
    assert_eq!((refused.status(), refused.text().as_str()), (503, "too busy\n"));
    assert!(host.log().contains("no file has that component any more"), "{}", host.log());
    assert_eq!(host.get("/b").status(), 200, "the others go on");
    assert!(reload(&host).contains("a"));
    assert_eq!(serves(), "b");
    // As it was before: that file is there again.
    lose();
    assert_eq!(serves(), "b");
}

/// A file that changed took the code of all other files with it that had the same bytes.
#[test]
fn code_of_one_of_several_files_is_found_in_any_of_them() {
    let same = variant("version_a_p2", 1);
    let tenants = [("a", same.clone()), ("b", same), ("x", variant("hello_p2", 2))];
    let site = site(Some(1.0), &tenants);
    let host = serve(&site).start();
    site.put("tenants/a.wasm", "version_b_p2");
    reload(&host);
    assert_eq!(host.get("/x").status(), 200);
    empty_the_cache(&site);
    assert_eq!(version(&host.get("/b/")), "a");
    assert_eq!(version(&host.get("/a/")), "b");
}

/// Each request that waited for a compile killed it at its own deadline, so that none ever ended, and the breaker put the component
/// aside.
#[test]
fn compile_that_takes_longer_than_a_request_may_wait_goes_on_without_it() {
    let tenants = [("a", slower("hello_p2")), ("x", variant("hello_p2", 1))];
    let site = site(Some(1.0), &tenants);
    let impatient = "limits = { response-head-timeout = \"60ms\" }\nbreaker = { failures = 1, pause = \"10h\" }\n";
    let table = component("a") + impatient + &route("/a", "a") + "strip-prefix = true\n";
    site.put_text("tenants/a.toml", &table);
    let host = serve(&site).start();
    assert_eq!(host.get("/x").status(), 200);
    let before = loads(&host, "a");
    empty_the_cache(&site);
    let mut refused = 0;
    let answer = loop {
        let answer = host.get("/a");
        if answer.status() != 503 {
            break answer;
        }
        assert_eq!(answer.text(), "too busy\n");
        refused += 1;
    };
    assert_eq!(
        (answer.status(), answer.text().as_str()),
        (200, "hello world\n"),
        "after {refused}"
    );
    assert!(refused > 0, "it was compiled faster than that");
    assert_eq!(loads(&host, "a"), [before[0], before[1] + 1.0]);
    assert!(!host.log().contains("put aside"), "{}", host.log());
}

#[test]
fn swaps_and_rollbacks_go_on_with_code_that_is_given_back() {
    let tenants = [
        ("a", bytes("version_a_p2")),
        ("x", variant("hello_p2", 1)),
        ("y", variant("hello_p2", 2)),
    ];
    let site = site(Some(1.0), &tenants);
    let host = serve(&site).start();
    let away = || {
        for name in ["x", "y"] {
            assert_eq!(host.get(&format!("/{name}")).status(), 200);
        }
        assert_eq!(mapped(&Metrics::of(&host), "a"), 0.0);
    };
    let serves = || version(&host.get("/a/"));
    away();
    site.put("tenants/a.wasm", "version_b_p3");
    host.ctl(["swap", "--component", "a", &site.file("tenants/a.wasm")]).expect_code(0);
    assert_eq!(serves(), "b");
    away();
    host.ctl(["rollback", "--component", "a"]).expect_code(0);
    assert_eq!(serves(), "a");
    away();
    assert_eq!(serves(), "a");
}

#[test]
fn trap_of_code_that_was_mapped_again_names_its_functions() {
    let tenants = [("a", bytes("crash_p2")), ("x", variant("hello_p2", 1))];
    let site = site(Some(1.0), &tenants);
    let host = serve(&site).start();
    assert_eq!(host.get("/x").status(), 200);
    assert_eq!(host.get("/a/panic").status(), 500);
    host.wait_log("crash_p2::ways::break_down");
}

#[test]
fn without_a_code_cache_nothing_is_given_back_and_that_is_said() {
    let tenants = [("a", variant("hello_p2", 1)), ("b", variant("hello_p2", 2))];
    let site = site(Some(1.0), &tenants);
    let host = site.serve().args(metrics::ARGS).args(["--no-cache"]).start();
    assert!(host.log().contains("no code is given back"), "{}", host.log());
    for name in ["a", "b", "a"] {
        assert_eq!(host.get(&format!("/{name}")).status(), 200);
    }
    let told = Metrics::of(&host);
    assert!(mapped(&told, "a") > 0.0 && mapped(&told, "b") > 0.0, "{told:?}");
}
