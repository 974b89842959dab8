//! A limit that is reached is named in the log, with its key in the manifest and its value as people write it.

use std::time::Instant;

use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::wire;

/// A manifest of one component with this guest and these tables.
fn shop(guest: &str, tables: &str) -> Host {
    Site::new(&format!("[component.shop]\nsource = \"guest:{guest}\"\n{tables}")).serve().start()
}

/// A component with these limits.
fn limited(guest: &str, limits: &str) -> Host {
    shop(guest, &format!("[component.shop.limits]\n{limits}\n"))
}

/// Waits for a line with `text`, which has to name the limit.
#[track_caller]
fn expect(host: &Host, text: &str, limit: &str) {
    let line = host.wait_log(text);
    assert!(line.contains(limit), "no {limit:?} in {line}");
}

/// The usual allocator aborts when it gets no memory: `unreachable`, and nothing of why.
#[test]
fn memory_that_was_refused_before_a_trap_is_named_with_its_limit() {
    for guest in ["crash_p2", "crash_p3"] {
        let host = limited(guest, "memory = \"16MiB\"");
        assert_eq!(host.get("/memory").status(), 500);
        let line = host.wait_log("guest failed: GET /memory");
        let refused = "its memory could not grow before: memory: 16MiB reached (limits.memory)";
        assert!(line.contains("`unreachable`") && line.contains(refused), "{line}");
    }
}

/// A component that holds most of the memory, and one that takes what is left. Both may have all of it.
#[track_caller]
fn expect_in_the_way(app: &str, rest: &str, limit: &str) {
    let source =
        |name: &str, guest: &str| format!("[component.{name}]\nsource = \"guest:{guest}\"\n");
    let manifest = format!(
        "{}{}{rest}\n[[route]]\npath = \"/hold\"\ncomponent = \"holds\"\n[[route]]\npath = \"/\"\ncomponent = \"{app}\"\n",
        source("holds", "hostile_p2"),
        source("takes", "crash_p2"),
    );
    let host = Site::new(&manifest).serve().start();
    let hold = || {
        let mut holds = host.connect();
        holds.send(wire::get("/hold?mib=24&ms=600000")).unwrap();
        holds
    };
    let mut holds = hold();
    // It may not hold them at once.
    let until = Instant::now() + PATIENCE;
    let told = |log: &str| log.lines().any(|line| line.contains(limit));
    while !told(&host.log()) {
        assert!(Instant::now() < until, "no {limit:?} in {}", host.log());
        host.get("/memory");
        host.get("/hold?mib=0");
        // The other one may have had the memory when it asked.
        if !matches!(holds.glance(), Glance::Quiet) {
            holds = hold();
        }
    }
    holds.reset();
}

#[test]
fn memory_of_all_is_named_where_it_is_in_the_way() {
    let limit = "its memory could not grow before: memory: 32MiB reached (total.memory)";
    expect_in_the_way("takes", "[limits]\nmemory = \"32MiB\"\n[total]\nmemory = \"32MiB\"", limit);
}

#[test]
fn memory_that_a_new_instance_lacks_is_named_with_its_limit() {
    let limit = "no memory for another instance: memory-total: 26MiB reached (limits.memory-total)";
    let limits = "[component.holds.limits]\nmemory = \"26MiB\"\nmemory-total = \"26MiB\"";
    expect_in_the_way("takes", limits, limit);
}

#[test]
fn times_of_a_guest_are_named() {
    for (guest, limits, path, text, limit) in [
        (
            "busy_p2",
            "cpu-time = \"300ms\"",
            "/",
            "guest failed: ",
            "300ms of CPU time (limits.cpu-time)",
        ),
        (
            "sleep_p2",
            "response-head-timeout = \"300ms\"",
            "/?ms=600000",
            "refused: GET /",
            "response-head-timeout: 300ms reached (limits.response-head-timeout)",
        ),
        (
            "after_p2",
            "after-timeout = \"300ms\"",
            "/forever",
            "guest worked too long after its answer",
            "after-timeout: 300ms reached (limits.after-timeout)",
        ),
    ] {
        let host = limited(guest, limits);
        host.get(path);
        expect(&host, text, limit);
    }
}

#[test]
fn times_and_sizes_of_an_answer_are_named() {
    for (guest, limits, path, limit) in [
        (
            "hooks_p2",
            "body-idle-timeout = \"300ms\"",
            "/hold",
            "body-idle-timeout: 300ms reached (limits.body-idle-timeout)",
        ),
        (
            "hooks_p2",
            "exchange-timeout = \"300ms\"",
            "/hold",
            "exchange-timeout: 300ms reached (limits.exchange-timeout)",
        ),
        (
            "hostile_p3",
            "response-body = \"1MiB\"",
            "/endless",
            "response-body: 1MiB reached (limits.response-body)",
        ),
    ] {
        let host = limited(guest, limits);
        let mut conn = host.connect();
        conn.send(wire::get(path)).unwrap();
        let head = conn.read_head().unwrap();
        wire::assert_broken(conn.read_body(&head, "GET"));
        expect(&host, "answer broken off: ", limit);
    }
}

#[test]
fn size_of_an_upload_is_named() {
    let limit = "request-body: 1KiB reached (limits.request-body)";
    for guest in ["echo_p2", "echo_p3"] {
        let host = limited(guest, "request-body = \"1KiB\"");
        let mut conn = host.connect();
        conn.send(wire::sized("/said", 2000)).unwrap();
        assert_eq!(conn.read_response("POST").unwrap().status(), 413);
        expect(&host, "refused: POST /said", limit);
        let mut conn = host.connect();
        conn.send([wire::chunked("/chunks").into_bytes(), wire::chunk([b'x'; 2000])].concat())
            .unwrap();
        conn.read_head().ok();
        let line = host.wait_log("POST /chunks");
        assert!(line.contains(limit), "{line}");
    }
}

#[test]
fn pace_of_an_upload_is_named() {
    let host = limited("gate_p2", "body-idle-timeout = \"300ms\"");
    let mut conn = host.connect();
    conn.send(wire::sized("/", 200_000)).unwrap();
    let limit = "body-idle-timeout: 300ms reached (limits.body-idle-timeout)";
    expect(&host, "why=\"body-too-slow\"", limit);
}

/// A component with these limits whose instances are all taken, and whose clients may take their time.
fn taken(limits: &str) -> (Host, Conn) {
    let tables = format!("[component.shop.limits]\n{limits}\n[listen]\nmin-rate = \"off\"\n");
    let host = shop("gate_p2", &tables);
    let mut held = host.connect();
    held.send(wire::chunked("/held")).unwrap();
    host.wait_log("gate: started");
    (host, held)
}

#[test]
fn queue_is_named_by_its_length_and_its_time() {
    for (limits, limit) in [
        (
            "instances = 1\nqueue = 1\nqueue-timeout = \"300ms\"",
            "queue-timeout: 300ms reached (limits.queue-timeout)",
        ),
        ("instances = 1\nqueue = 0", "queue: 0 reached (limits.queue)"),
    ] {
        let (host, _held) = taken(limits);
        assert_eq!(host.get("/waits").status(), 503);
        expect(&host, "refused: GET /waits", limit);
    }
}

#[test]
fn handles_and_other_bounds_of_the_sandbox_are_named() {
    let host = limited("hostile_p2", "handles = 50\ncpu-time = \"60s\"");
    for (path, limit) in [
        ("/handles?what=fields", "handles: 50 reached (limits.handles)"),
        ("/headers", "size of headers: 128KiB reached (the same for all)"),
    ] {
        host.get(path);
        expect(&host, &format!("GET {path}"), limit);
    }
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest/wat/table.wat");
    let host = Host::serve(table).args(["--max-memory", "1MiB"]).start();
    assert_eq!(host.get("/").status(), 500);
    expect(&host, "guest failed: GET /", "table elements: 100000 reached (the same for all)");
}

#[test]
fn time_of_a_hook_is_named() {
    let site = Site::new(
        "[limits]\nhook-timeout = \"300ms\"\n[component.shop]\nsource = \"guest:start_spin_p2\"\n",
    );
    let exit = Host::run(["check", site.text()]);
    exit.expect_code(3);
    let limit = "on-start did not return within 300ms (limits.hook-timeout)";
    assert!(exit.stderr.contains(limit), "{}", exit.stderr);
}
