//! Several changes at once: what was asked for last serves, and none is lost for another's sake.

use std::fs;
use std::time::Instant;

use crate::support::app::{App, bytes, one_more, slow_to_compile, slower, text, version};
use crate::support::compiler::Compiler;
use crate::support::host::Ctl;
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};
use crate::support::upstream::Upstream;

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
        site.put_bytes("one.wasm", &slower("version_b_p2"));
        if !watches {
            host.signal(Signal::HUP);
        }
        let compiler = Compiler::stopped(host.pid());
        if !watches {
            // The reload is to read it anew too. It is swapped by hand before that. (Changed before the signal, it
            // would have a compiler of its own, and either of the two would be the one that is stopped.)
            site.put_bytes("two.wasm", &slower("version_a_p2"));
        }
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
    site.put_bytes("one.wasm", &slower("version_b_p2"));
    host.signal(Signal::HUP);
    let compiler = Compiler::stopped(host.pid());
    let reload = host.start_ctl(["reload"]);
    host.wait_log_nth(says::SWAP_BEGINS, 2);
    fs::write(site.folder.join("hand.wasm"), bytes("version_b_p3")).unwrap();
    host.ctl(["swap", "--component", "one", &site.file("hand.wasm")]).expect_code(0);
    compiler.expect_end();
    reload.wait_exit().expect_code(0);
    assert_eq!(versions(&host), ["b", "a"]);
}

/// The later commands said "unchanged", and then the earlier one was carried out.
#[test]
fn later_command_that_changes_nothing_wins_over_one_that_compiles() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().args(["--no-cache"]).start();
    let b = app.folder.join("b.wasm");
    fs::write(&b, slower("version_b_p2")).unwrap();
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
    let app = App::new("version_a_p2");
    let host = app.serve().control().args(["--no-cache", "--watch"]).start();
    host.wait_log(says::WATCHING);
    let b = app.folder.join("b.wasm");
    fs::write(&b, slower("version_b_p2")).unwrap();
    let asked = host.start_ctl(["swap", text(&b)]);
    let compiler = Compiler::stopped(host.pid());
    app.put("version_a_p2");
    host.wait_log(says::UNCHANGED);
    compiler.signal(Signal::CONT);
    asked.wait_exit().expect_code(0);
    assert_eq!(version(&host.get("/")), "b");
}

/// SIGHUP and `--watch` waited for the compiler of a bad file as long as that may take, though a good one had
/// been put in its place. Nor do those that are given up keep the good one from a compiler.
#[test]
fn file_that_is_put_right_does_not_wait_for_the_compiler_of_the_bad_one() {
    let slow = slow_to_compile();
    for watches in [true, false] {
        let app = App::new("version_a_p2");
        let args: &[&str] = if watches { &["--watch"] } else { &[] };
        let host = app.serve().args(["--no-cache"]).args(args.iter().copied()).start();
        if watches {
            host.wait_log(says::WATCHING);
        }
        let put = |bytes: &[u8]| {
            app.put_bytes(bytes);
            if !watches {
                host.signal(Signal::HUP);
            }
        };
        put(&slow);
        let mut bad = Compiler::stopped(host.pid());
        for number in 0..3 {
            put(&one_more(&slow, number));
            bad.expect_end();
            bad = Compiler::stopped(host.pid());
        }
        put(&bytes("version_b_p2"));
        host.wait_log(says::SWAPPED);
        assert_eq!(version(&host.get("/")), "b");
        bad.expect_end();
    }
}

/// The same for who asks by hand: all of them get what the file is in the end.
#[test]
fn commands_that_wait_for_a_file_that_is_replaced_do_not_keep_the_next_one_from_a_compiler() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().args(["--no-cache"]).start();
    let slow = slow_to_compile();
    app.put_bytes(&slow);
    let first = host.start_ctl(["reload"]);
    let bad = Compiler::stopped(host.pid());
    app.put_bytes(&one_more(&slow, 1));
    let second = host.start_ctl(["reload"]);
    bad.expect_end();
    let bad = Compiler::stopped(host.pid());
    app.put("version_b_p2");
    host.ctl(["reload"]).expect_code(0);
    bad.expect_end();
    second.wait_exit().expect_code(0);
    let a_third = "was another one each time";
    // At its third turn it does not wait any more, should that one have to be compiled too.
    let first = first.wait_exit();
    let took_it = first.code == 0;
    assert!(took_it || first.last_line.contains(a_third), "{first:?}");
    assert_eq!(version(&host.get("/")), "b");
}

/// Text is read by a child too, which held up every other change, as long as that may take.
#[test]
fn text_that_is_being_read_holds_up_no_other_change() {
    let site = two();
    let host = site.serve().control().args(["--no-cache"]).start();
    let text = format!("(component {})", "(core module) ".repeat(200_000));
    site.put_text("slow.wat", &text);
    let asked = host.start_ctl(["swap", "--component", "one", &site.file("slow.wat")]);
    let reader = Compiler::stopped(host.pid());
    site.put("new.wasm", "version_b_p3");
    host.ctl(["swap", "--component", "two", &site.file("new.wasm")]).expect_code(0);
    assert_eq!(versions(&host), ["a", "b"]);
    site.put_text("slow.wat", "(component (nonsense))");
    let later = host.start_ctl(["swap", "--component", "one", &site.file("slow.wat")]);
    reader.expect_end();
    for asked in [asked, later] {
        asked.wait_exit().expect_code(1).expect_last_line("rejected (check): ");
    }
    assert_eq!(versions(&host), ["a", "b"]);
}

/// It was refused because sixteen changes waited already, and the operator was not told.
#[test]
fn hangup_that_finds_many_changes_waiting_waits_too() {
    let upstream = Upstream::start();
    let here = format!("http://127.0.0.1:{}", upstream.port());
    let plain = component("one") + &format!("[component.one.grants]\noutgoing = [\"{here}\"]\n");
    let site = Site::with(&plain, &[("one.wasm", "grants_p2")]);
    let host = site.serve().control().start();
    let smoke = format!("smoke = [\"GET /fetch?url={here}/hold 200\"]\n[component.one.grants]");
    site.write(&plain.replace("[component.one.grants]", &smoke));
    let first = host.start_ctl(["reload"]);
    upstream.wait_requests(1);
    let many: Vec<_> = (0..17).map(|_| host.start_ctl(["rollback"])).collect();
    let until = Instant::now() + PATIENCE;
    while !many.iter().any(Ctl::has_ended) {
        assert!(Instant::now() < until, "none of them is too many");
    }
    host.signal(Signal::HUP);
    host.wait_log("swap: waits, because many were asked for before");
    upstream.release();
    host.wait_log_nth(says::BY_HANGUP, 3);
    first.wait_exit().expect_code(0);
    let mut refused = 0;
    for asked in many {
        let exit = asked.wait_exit();
        exit.expect_code(1);
        refused += usize::from(exit.stderr.contains("too many swaps are waiting"));
    }
    assert_eq!(refused, 1);
}
