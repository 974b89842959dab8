//! `snapshot`: `on-start` runs once, when a component is loaded, and each fresh instance begins behind it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::app::{App, Folder, reload, swap_to, text};
use crate::support::h2raw::H2;
use crate::support::prelude::*;
use crate::support::site::Site;

const BOTH: [&str; 2] = ["warm_p2", "warm_p3"];

/// What the guest prints in `on-start`.
const ON_START: &str = "warm: on-start";

/// How often `on-start` has printed.
fn starts(host: &Host) -> usize {
    host.log().matches(ON_START).count()
}

/// The first answer of an instance that each begins with `on-start`.
fn cold_answer(guest: &str) -> String {
    Host::serve(guest).args(["--config", "said=x"]).start().get("/").text()
}

#[test]
fn every_instance_begins_behind_one_on_start_and_sees_nothing_of_another() {
    for guest in BOTH {
        let cold = cold_answer(guest);
        assert!(cold.starts_with("warm=true ") && cold.ends_with(" said=x requests=1\n"), "{cold}");
        let args = ["--snapshot", "--config", "said=x", "--max-instances", "4"];
        let host = Host::serve(guest).args(args).args(["--queue-timeout", "60s"]).start();
        let mut conn = host.connect();
        for _ in 0..50 {
            assert_eq!(conn.get("/").unwrap().text(), cold, "{guest}");
        }
        // The slots of these are used again and again, by several at once.
        let mut h2 = H2::connect(host.addr());
        for i in 0..50 {
            h2.get(2 * i + 1, "/");
        }
        for i in 0..50 {
            assert_eq!(String::from_utf8(h2.expect_answer(2 * i + 1).body).unwrap(), cold);
        }
        assert_eq!(starts(&host), 1, "{guest}:\n{}", host.log());
    }
}

/// Reused instances begin there too.
#[test]
fn reused_instance_begins_behind_on_start_and_keeps_its_own_changes() {
    for guest in BOTH {
        let host = Host::serve(guest).args(["--snapshot", "--reuse", "3"]).start();
        let mut conn = host.connect();
        let mut answers: Vec<String> = Vec::new();
        for _ in 0..6 {
            answers.push(conn.get("/").unwrap().text());
        }
        let requests: Vec<&str> =
            answers.iter().filter_map(|text| text.trim_end().rsplit('=').next()).collect();
        assert_eq!(requests, ["1", "2", "3", "1", "2", "3"], "{guest}");
        assert_eq!(answers[..3], answers[3..]);
        assert_eq!(starts(&host), 1);
    }
}

/// A handle leads nowhere in another instance: each would trap at its first request.
#[test]
fn guest_that_holds_handles_behind_on_start_is_refused() {
    for guest in BOTH {
        let held = ["--snapshot", "--config", "hold=1"];
        let exit = Host::serve(guest).args(held).start_in_vain();
        exit.expect_code(3);
        for words in ["it holds handles", "other resources of the host: 1", "leave out snapshot"] {
            assert!(exit.stderr.contains(words), "{guest}: {words}: {}", exit.stderr);
        }
        // It is no fault without a snapshot.
        let host = Host::serve(guest).args(["--config", "hold=1"]).start();
        assert_eq!(host.get("/").status(), 200);
    }
}

#[test]
fn work_that_goes_on_behind_on_start_is_waited_for_and_refused_at_the_end_of_its_time() {
    let work = |milliseconds: &str| {
        let work = format!("work={milliseconds}");
        Host::serve("warm_p3").args(["--snapshot", "--hook-timeout", "2s", "--config", &work])
    };
    let host = work("100").start();
    assert!(host.get("/").text().starts_with("warm=true "));
    let exit = work("600000").start_in_vain();
    exit.expect_code(3);
    assert!(exit.stderr.contains("that have not ended"), "{}", exit.stderr);
}

#[test]
fn component_without_on_start_and_one_whose_on_start_fails_are_refused() {
    for (guest, words) in [
        ("hello_p2", "it has no on-start; leave out snapshot"),
        ("hello_p3", "it has no on-start; leave out snapshot"),
        ("start_error_p2", "on-start gave an error"),
        ("start_trap_p3", "does not start: guest trapped"),
    ] {
        let exit = Host::serve(guest).args(["--snapshot"]).start_in_vain();
        exit.expect_code(3);
        assert!(exit.stderr.contains(words), "{guest}: {}", exit.stderr);
    }
}

/// What wizer gets wrong or refuses: a table that changes, two memories.
#[test]
fn component_of_a_shape_that_no_snapshot_can_be_taken_of_is_refused() {
    let app = |module: &str| {
        format!(
            "(component (core module $m {module}) (core instance $i (instantiate $m))
               (instance $none) (export \"wasi:http/incoming-handler@0.2.0\" (instance $none)))"
        )
    };
    for (module, words) in [
        (
            "(table 1 funcref) (func (drop (table.grow 0 (ref.null func) (i32.const 1))))",
            "table.grow",
        ),
        ("(memory 1) (memory 1) (export \"m\" (memory 0))", "more than one memory"),
        ("(memory 1)", "exports nothing"),
    ] {
        let folder = Folder::new();
        let path = folder.join("app.wat");
        fs::write(&path, app(module)).unwrap();
        let exit = Host::run(["serve", text(&path), "--snapshot", "--addr", "127.0.0.1:0"]);
        exit.expect_code(3);
        let says = [words, "no snapshot can be taken of it", "leave out snapshot"];
        assert!(says.iter().all(|says| exit.stderr.contains(says)), "{words}: {}", exit.stderr);
    }
}

/// The hooks at the end of a life are each instance's own.
#[test]
fn shutdown_hook_is_called_in_every_instance() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let host = Host::serve(guest).args(["--snapshot"]).start();
        // That of the trial, which begins behind `on-start` too.
        host.wait_log_nth(says::ON_SHUTDOWN, 1);
        for lives in 2..5 {
            let answer = host.get("/").text();
            assert!(answer.starts_with("started=true ") && answer.ends_with(" requests=1\n"));
            host.wait_log_nth(says::ON_SHUTDOWN, lives);
        }
        assert_eq!(host.log().matches(says::ON_START).count(), 1, "{guest}");
    }
}

#[test]
fn reload_takes_another_snapshot_and_a_rollback_keeps_its_own() {
    for guest in BOTH {
        let manifest = |said: &str| {
            format!(
                "[component.warm]\nsource = \"guest:{guest}\"\nsnapshot = true\nconfig = {{ said = \"{said}\" }}\n"
            )
        };
        let site = Site::new(&manifest("one"));
        let host = site.serve().control().start();
        let said = |host: &Host| {
            let text = host.get("/").text();
            text.split_whitespace().find_map(|word| word.strip_prefix("said=")).map(str::to_owned)
        };
        assert_eq!(said(&host).as_deref(), Some("one"));
        // Nothing has changed: nothing is taken.
        host.ctl(["reload"]).expect_code(0);
        assert_eq!(starts(&host), 1);
        // The same file: what it has read is another.
        site.write(&manifest("two"));
        host.ctl(["reload"]).expect_code(0);
        assert_eq!(said(&host).as_deref(), Some("two"));
        assert_eq!(starts(&host), 2);
        host.ctl(["rollback"]).expect_code(0);
        assert_eq!(said(&host).as_deref(), Some("one"), "{guest}: it keeps its code");
        assert_eq!(starts(&host), 2);
    }
}

#[test]
fn swap_takes_a_snapshot_of_the_new_version() {
    let app = App::new("warm_p2");
    let host = app.serve().args(["--snapshot"]).start();
    swap_to(&host, &app, "hooks_p2");
    assert!(host.get("/").text().starts_with("started=true "));
    assert_eq!(host.log().matches(says::ON_START).count(), 1);
    app.put("hello_p2");
    assert!(reload(&host).contains("no on-start"), "it is refused");
    assert!(host.get("/").text().starts_with("started=true "), "and what was there serves");
}

/// What a guest has read stands in the code of its snapshot, so that is in no file.
#[test]
fn second_start_works_with_a_cache_and_the_cache_holds_nothing_that_was_read() {
    const SECRET: &str = "a-secret-of-the-configuration";
    let folder = Folder::new();
    let cache = folder.join("cache");
    let said = format!("said={SECRET}");
    let names = |cache: &Path| -> BTreeSet<_> {
        fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let start = || {
        let args = ["--snapshot", "--config", &said, "--cache-dir", text(&cache)];
        Host::serve("warm_p2").args(args).start()
    };
    assert!(start().get("/").text().contains(SECRET));
    let first = names(&cache);
    assert_eq!(first.len(), 1, "the code that the snapshot is taken with: {first:?}");
    let host = start();
    assert!(host.get("/").text().contains(SECRET));
    assert_eq!(starts(&host), 1, "each start takes its own");
    assert_eq!(names(&cache), first);
    for entry in first {
        let bytes = fs::read(&entry).unwrap();
        let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!found, "{}", entry.display());
    }
}

/// It would have been read once, for all routes.
#[test]
fn configuration_of_a_route_is_refused_beside_a_snapshot() {
    let site = Site::new(
        r#"
        [component.mark]
        source = "guest:mark_p2"
        snapshot = true
        [component.hello]
        source = "guest:hello_p2"
        [[route]]
        path = "/"
        component = "hello"
        chain = [{ plugin = "mark", config = { mark = "one" } }]
        "#,
    );
    let exit = Host::run(["serve", site.text()]);
    exit.expect_code(2);
    assert!(exit.stderr.contains("has read one already"), "{}", exit.stderr);
}
