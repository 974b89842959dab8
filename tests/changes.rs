//! Several changes at once: what was asked for last serves, and none is lost for another's sake.

use std::fs;

use crate::support::app::{App, bytes, text, variant, version};
use crate::support::compiler::Compiler;
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};

/// Two components, of version a.
fn two() -> Site {
    let manifest = component("one") + &component("two") + &route("/one", "one");
    let files = [("one.wasm", "version_a_p2"), ("two.wasm", "version_a_p2")];
    Site::with(&(manifest + &route("/two", "two")), &files)
}

/// The versions of both.
#[track_caller]
fn versions(host: &Host) -> [String; 2] {
    ["/one", "/two"].map(|path| version(&host.get(path)))
}

/// A reload whose first component was being compiled was given up for a swap of the second by hand,
/// and `--watch` never asked again, for nothing more happened to the file.
#[test]
fn reload_goes_on_when_another_component_is_swapped_meanwhile() {
    for watches in [true, false] {
        let site = two();
        let args: &[&str] = if watches { &["--watch"] } else { &[] };
        let host = site.serve().control().args(["--no-cache"]).args(args.iter().copied()).start();
        if watches {
            host.wait_log(says::WATCHING);
        }
        site.put_bytes("one.wasm", &variant("version_b_p2", 1));
        if !watches {
            // It is to be read anew too, and is swapped by hand before it is.
            site.put_bytes("two.wasm", &variant("version_a_p2", 1));
            host.signal(Signal::HUP);
        }
        let compiler = Compiler::stopped(host.pid());
        fs::write(site.folder.join("hand.wasm"), bytes("version_b_p3")).unwrap();
        host.ctl(["swap", "--component", "two", &site.file("hand.wasm")]).expect_code(0);
        assert_eq!(versions(&host), ["a", "b"]);
        compiler.signal(Signal::CONT);
        let outcome = host.wait_log("; changed: one; left to a later change: two");
        assert!(outcome.contains(if watches { "--watch" } else { "SIGHUP" }), "{outcome}");
        assert_eq!(versions(&host), ["b", "b"], "what was asked for last stays");
        // All that the manifest says, asked for last of all.
        host.ctl(["reload"]).expect_code(0);
        assert_eq!(versions(&host), ["b", "a"]);
    }
}

/// What is swapped by hand may be what the reload could not compile: then that is no reason to refuse the
/// others.
#[test]
fn reload_does_not_wait_for_the_compiler_of_what_is_swapped_meanwhile() {
    let site = two();
    let host = site.serve().control().args(["--no-cache"]).start();
    site.put_bytes("one.wasm", &variant("version_b_p2", 2));
    host.signal(Signal::HUP);
    let compiler = Compiler::stopped(host.pid());
    let reload = host.start_ctl(["reload"]);
    fs::write(site.folder.join("hand.wasm"), bytes("version_b_p3")).unwrap();
    host.ctl(["swap", "--component", "one", &site.file("hand.wasm")]).expect_code(0);
    compiler.expect_end();
    reload.wait_exit().expect_code(0);
    assert_eq!(versions(&host), ["b", "a"]);
}

/// The later commands said "unchanged", and then the earlier one was carried out.
#[test]
fn later_command_that_changes_nothing_wins_over_one_that_compiles() {
    let app = App::of("version_a_p2");
    let host = app.serve().control().args(["--no-cache"]).start();
    let b = app.folder.join("b.wasm");
    fs::write(&b, bytes("version_b_p2")).unwrap();
    for later in [&["swap", app.text()][..], &["reload"]] {
        let asked = host.start_ctl(["swap", text(&b)]);
        let compiler = Compiler::stopped(host.pid());
        host.ctl(later).expect_code(0);
        asked.wait_exit().expect_code(1).expect_last_line("asked for later");
        compiler.expect_end();
        assert_eq!(version(&host.get("/")), "a");
    }
    let site = two();
    let host = site.serve().control().args(["--no-cache"]).start();
    let asked = host.start_ctl(["swap", "--component", "one", text(&b)]);
    let compiler = Compiler::stopped(host.pid());
    host.ctl(["reload"]).expect_code(0);
    asked.wait_exit().expect_code(1).expect_last_line("asked for later");
    compiler.expect_end();
    assert_eq!(versions(&host), ["a", "a"]);
}

/// A new date of a file asks for nothing.
#[test]
fn file_that_only_looks_changed_gives_up_no_command() {
    let app = App::of("version_a_p2");
    let host = app.serve().control().args(["--no-cache", "--watch"]).start();
    host.wait_log(says::WATCHING);
    let b = app.folder.join("b.wasm");
    fs::write(&b, bytes("version_b_p2")).unwrap();
    let asked = host.start_ctl(["swap", text(&b)]);
    let compiler = Compiler::stopped(host.pid());
    app.put("version_a_p2");
    host.wait_log(says::UNCHANGED);
    compiler.signal(Signal::CONT);
    asked.wait_exit().expect_code(0);
    assert_eq!(version(&host.get("/")), "b");
}
