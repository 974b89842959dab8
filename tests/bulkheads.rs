//! One component at its limit: told so itself, in a way that its clients can act upon, while its
//! neighbours go on, and no longer than it lasts.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::neighbour::Neighbour;
use crate::support::prelude::*;
use crate::support::site::{self, Site};
use crate::support::status::{component, status, wait_in_use, wait_status};
use crate::support::upstream::Upstream;
use crate::support::wire;

/// `app` under `/app` with what `app` says, beside a good one, and what `more` says.
fn beside_a_good_one(guest: &str, app: &str, more: &str) -> Site {
    Site::new(&site::beside_a_good_one("app", &format!("guest:{guest}"), app, more))
}

/// Returns when `host ctl status` says this of `app`.
#[track_caller]
fn wait_app(host: &Host, what: &str, is: impl Fn(&Value) -> bool) {
    wait_status(host, what, |status| is(component(status, "app")));
}

#[track_caller]
fn expect_come_again(answer: &Response) {
    assert_eq!((answer.status(), answer.text().as_str()), (503, "too busy\n"), "{answer}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!answer.head.says_close(), "the connection goes on: {answer}");
}

#[test]
fn component_with_all_its_instances_busy_refuses_for_itself_alone() {
    for guest in ["gate_p2", "gate_p3"] {
        let app = "[component.app.limits]\ninstances = 2\nqueue = 1\nqueue-timeout = \"60s\"";
        let site = beside_a_good_one(guest, app, "");
        let host = site.serve().control().start();
        let neighbour = Neighbour::at(&host, "/good");
        let mut held: Vec<Conn> = (0..2).map(|_| host.connect()).collect();
        for conn in &mut held {
            conn.send(wire::chunked("/app/head")).unwrap();
        }
        host.wait_log_nth(says::GATE_STARTED, 2);
        let instances = component(&status(&host), "app")["instances"].clone();
        assert_eq!((&instances["in_use"], &instances["limit"]), (&2.into(), &2.into()));
        // One of these two waits, the other finds the queue full.
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/app/head");
        h2.get(3, "/app/head");
        let (refused, status, headers) = h2.wait("an answer", |frame| match frame {
            Frame::Headers { stream, status, headers, .. } => {
                Some((*stream, *status, headers.clone()))
            }
            _ => None,
        });
        assert_eq!(status, Some(503));
        assert!(headers.contains(&("retry-after".to_owned(), "1".to_owned())), "{headers:?}");
        expect_come_again(&host.get("/app/head"));
        neighbour.expect_well();
        for conn in &mut held {
            conn.send(wire::LAST_CHUNK).unwrap();
            assert_eq!(conn.read_response("POST").unwrap().text(), "done\n");
        }
        assert_eq!(h2.expect_answer(4 - refused).body, b"done\n", "who waited is served");
        assert_eq!(host.get("/app/head").status(), 200);
        neighbour.expect_well();
    }
}

/// What `/hold?mib=40` takes in the end, with what the guest began with: of 42 MiB there is no room
/// left for another instance. Short of this it is still taking.
const HELD: u64 = 41 << 20;

#[test]
fn memory_of_a_component_is_bounded_together_and_comes_back() {
    let app = "[component.app.limits]\nmemory = \"42MiB\"\nmemory-total = \"42MiB\"";
    let site = beside_a_good_one("hostile_p2", app, "");
    let host = site.serve().control().start();
    let neighbour = Neighbour::at(&host, "/good");
    let mut holds = host.connect();
    holds.send(wire::get("/app/hold?mib=40&ms=600000")).unwrap();
    let held = |app: &Value| app["memory"].as_u64().unwrap() >= HELD;
    wait_app(&host, "holding its memory", held);
    expect_come_again(&host.get("/app/"));
    let line = host.wait_log("GET /app/");
    assert!(line.contains("component=\"app\"") && line.contains("status=503"), "{line}");
    neighbour.expect_well();
    holds.reset();
    wait_app(&host, "free again", |app| app["memory"] == 0);
    assert_eq!(host.get("/app/hold?mib=30").text(), "held\n");
    neighbour.expect_well();
}

#[test]
fn memory_of_all_guests_is_bounded_together_and_comes_back() {
    let app = "[component.app.limits]\nmemory = \"42MiB\"";
    let good = "[limits]\nmemory = \"42MiB\"\n[total]\nmemory = \"42MiB\"";
    let site = beside_a_good_one("hostile_p2", app, good);
    let host = site.serve().control().start();
    assert_eq!(host.get("/good").status(), 200);
    let mut holds = host.connect();
    holds.send(wire::get("/app/hold?mib=40&ms=600000")).unwrap();
    let held = |app: &Value| app["memory"].as_u64().unwrap() >= HELD;
    wait_app(&host, "holding its memory", held);
    expect_come_again(&host.get("/good"));
    holds.reset();
    wait_app(&host, "free again", |app| app["memory"] == 0);
    assert_eq!(host.get("/good").status(), 200);
}

#[test]
fn memory_that_traps_and_time_outs_held_comes_back_too() {
    let limits = "memory = \"42MiB\"\nmemory-total = \"42MiB\"\ncpu-time = \"2s\"\n\
                  response-head-timeout = \"4s\"";
    let site = beside_a_good_one("hostile_p2", &format!("[component.app.limits]\n{limits}"), "");
    let host = site.serve().control().start();
    for (path, code) in
        [("/deep", 500), ("/spin", 504), ("/handles", 500), ("/hold?mib=20&ms=9000000", 504)]
    {
        assert_eq!(host.get(&format!("/app{path}")).status(), code, "{path}");
        wait_app(&host, "free again", |app| app["memory"] == 0 && app["instances"]["in_use"] == 0);
    }
}

#[test]
fn answer_over_its_limit_is_broken_and_one_within_it_is_whole() {
    let app = "[component.app.limits]\nresponse-body = \"1MiB\"";
    for guest in ["hostile_p2", "hostile_p3"] {
        let host = beside_a_good_one(guest, app, "").serve().start();
        let mut conn = host.connect();
        conn.send(wire::get("/app/endless")).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(head.status, 200);
        let mut got = 0;
        let end = loop {
            match conn.read_chunk() {
                Ok(Some(chunk)) => got += chunk.len(),
                end => break end,
            }
        };
        wire::assert_broken(end);
        assert!(got <= 1 << 20, "{got} bytes came");
        let line = host.wait_log("answer broken off");
        assert!(line.contains("guest sent more than its limit, response-body"), "{line}");
    }
    let host = beside_a_good_one("odd_p2", app, "").serve().start();
    let exact = host.get("/app/length?say=1048576&give=1048576");
    assert_eq!((exact.status(), exact.body.bytes.len()), (200, 1 << 20));
    let mut conn = host.connect();
    match conn.get("/app/length?say=1048577&give=1048577") {
        // Before its head is out there is still an answer to be had.
        Ok(answer) => assert_eq!(answer.status(), 500, "{answer}"),
        broken => wire::assert_broken(broken),
    }
}

#[test]
fn requests_that_guests_send_at_once_are_bounded() {
    for guest in ["hostile_p2", "hostile_p3"] {
        let upstream = Upstream::start();
        let port = upstream.port();
        let app = format!(
            "[component.app.grants]\noutgoing = [\"http://127.0.0.1:{port}\"]\n\
             [component.app.limits]\noutgoing-requests = 2"
        );
        let host = beside_a_good_one(guest, &app, "").serve().start();
        let mut conn = host.connect();
        let url = format!("http://127.0.0.1:{port}/hold");
        conn.send(wire::get(&format!("/app/flood?n=5&url={url}"))).unwrap();
        upstream.wait_requests(2);
        let line = host.wait_log("outgoing request refused");
        assert!(line.contains("2 outgoing requests are under way already"), "{line}");
        // Another instance has no room either.
        let told = host.get(&format!("/app/flood?n=1&url={url}")).text();
        assert_eq!(told, "connection-limit-reached: 1\n");
        upstream.release();
        let told = conn.read_response("GET").unwrap().text();
        assert_eq!(told, "200: 2\nconnection-limit-reached: 3\n");
        let told = host.get(&format!("/app/flood?n=1&url={url}")).text();
        assert_eq!(told, "200: 1\n", "there is room again");
        assert_eq!(upstream.requests(), 3);
    }
}

#[test]
fn handles_of_one_instance_are_bounded() {
    for (guest, kinds, limit) in [
        ("hostile_p2", &["fields", "pollables", "requests"][..], "resource table has no free keys"),
        ("hostile_p3", &["fields", "streams", "futures"], "store handle limit exceeded"),
    ] {
        let site = beside_a_good_one(guest, "[component.app.limits]\nhandles = 200", "");
        let host = site.serve().start();
        let neighbour = Neighbour::at(&host, "/good");
        for kind in kinds {
            let answer = host.get(&format!("/app/handles?what={kind}"));
            assert_eq!(answer.status(), 500, "{kind}: {answer}");
            let line = host.wait_log(&format!("guest failed: GET /app/handles?what={kind}"));
            assert!(line.contains("guest trapped: ") && line.contains(limit), "{line}");
            assert_eq!(host.get("/app/").status(), 200);
        }
        neighbour.expect_well();
    }
}

/// One guest could take all descriptors of the process: no connection could be accepted any more.
#[test]
fn last_quarter_of_the_descriptors_is_not_for_guests() {
    let app = "[component.app.grants]\ndirectories = [{ host = \".\", guest = \"/\" }]";
    let host = beside_a_good_one("hostile_p2", app, "").serve().start();
    let pid = host.pid().to_string();
    let limited = Command::new("prlimit").args(["--nofile=400", "--pid", &pid]).status();
    assert!(limited.expect("util-linux is there").success());
    let told = host.get("/app/handles?what=dirs").text();
    let count: u32 = told
        .strip_prefix("refused at ")
        .and_then(|rest| rest.trim().parse().ok())
        .unwrap_or_else(|| panic!("{told}"));
    assert!((100..300).contains(&count), "{count} of 400");
    let line = host.wait_log("three quarters of the process's descriptors are taken");
    assert!(line.contains("component=\"app\""), "{line}");
}

#[test]
fn open_directories_of_one_instance_are_bounded() {
    let app = "[component.app.limits]\nhandles = 200\n[component.app.grants]\n\
               directories = [{ host = \".\", guest = \"/\" }]";
    let host = beside_a_good_one("hostile_p2", app, "").serve().start();
    let files = || std::fs::read_dir(format!("/proc/{}/fd", host.pid())).unwrap().count();
    let before = files();
    for _ in 0..3 {
        assert_eq!(host.get("/app/handles?what=dirs").status(), 500);
    }
    host.wait_log_nth("guest failed: GET /app/handles?what=dirs", 3);
    let until = Instant::now() + PATIENCE;
    while files() > before + 20 {
        assert!(Instant::now() < until, "{} descriptors, {before} before", files());
    }
}

/// Puts aside after three failures, for so long, with these limits.
fn breaker(pause: &str, limits: &str) -> String {
    format!(
        "[component.app.breaker]\nfailures = 3\nwithin = \"5m\"\npause = {pause:?}\n\
         [component.app.limits]\n{limits}"
    )
}

#[track_caller]
fn expect_put_aside(answer: &Response, longest: u64) {
    let text = answer.text();
    assert_eq!((answer.status(), text.as_str()), (503, "out of service for a while\n"), "{answer}");
    let seconds: u64 = answer.header("retry-after").expect("when to come").parse().unwrap();
    assert!((1..=longest).contains(&seconds), "{seconds} s");
}

#[test]
fn component_that_keeps_failing_is_put_aside() {
    for guest in ["counter_p2", "counter_p3"] {
        let site = beside_a_good_one(guest, &breaker("60s", "request-body = \"10B\""), "");
        let host = site.serve().control().start();
        let neighbour = Neighbour::at(&host, "/good");
        for _ in 0..2 {
            assert_eq!(host.get("/app/trap").status(), 500);
        }
        let mut large = host.connect();
        large.send(wire::sized("/app/slow", 11)).unwrap();
        assert_eq!(large.read_response("POST").unwrap().status(), 413, "a failure of the peer");
        assert_eq!(component(&status(&host), "app")["put_aside_ms"], Value::Null);
        assert_eq!(host.get("/app/").status(), 200);
        assert_eq!(host.get("/app/trap").status(), 500);
        expect_put_aside(&host.get("/app/"), 60);
        let line = host.wait_log(PUT_ASIDE);
        assert!(line.contains("component=\"app\""), "{line}");
        let left =
            component(&status(&host), "app")["put_aside_ms"].as_u64().expect("it is put aside");
        assert!((1..=60_000).contains(&left), "{left} ms");
        neighbour.expect_well();
    }
}

const PUT_ASIDE: &str = "component keeps failing and is put aside";

#[test]
fn component_that_was_put_aside_is_asked_again_after_its_pause_and_not_before() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = beside_a_good_one(guest, &breaker("2s", ""), "").serve().control().start();
        for _ in 0..2 {
            assert_eq!(host.get("/app/trap").status(), 500);
        }
        // The pause begins somewhere within the third failure.
        let before = Instant::now();
        assert_eq!(host.get("/app/trap").status(), 500);
        host.wait_log(PUT_ASIDE);
        // Only an answer says when it is over.
        loop {
            let answer = host.get("/app/");
            if answer.status() == 200 {
                break;
            }
            expect_put_aside(&answer, 2);
            assert!(before.elapsed() < PATIENCE, "it stays open");
        }
        assert!(before.elapsed() >= Duration::from_secs(2), "{:?}", before.elapsed());
        assert_eq!(component(&status(&host), "app")["put_aside_ms"], Value::Null);
        for _ in 0..2 {
            assert_eq!(host.get("/app/trap").status(), 500);
        }
        assert_eq!(host.get("/app/").status(), 200, "failures count anew");
        assert_eq!(host.get("/app/trap").status(), 500);
        host.wait_log_nth(PUT_ASIDE, 2);
    }
}

#[test]
fn component_that_takes_too_long_counts_as_failing() {
    let limits = breaker("60s", "response-head-timeout = \"500ms\"");
    let host = beside_a_good_one("sleep_p2", &limits, "").serve().start();
    for _ in 0..3 {
        assert_eq!(host.get("/app/?ms=600000").status(), 504);
    }
    expect_put_aside(&host.get("/app/?ms=0"), 60);
}

/// A fix was served only when the pause was over, and what failed on the version before it counted
/// against it.
#[test]
fn another_version_is_not_put_aside_for_what_the_one_before_it_did() {
    let manifest = "[component.app]\nsource = \"app.wasm\"\n\
         [component.app.breaker]\nfailures = 2\nwithin = \"60s\"\npause = \"600s\"\n\
         [component.app.limits]\nresponse-head-timeout = \"3s\"\n\
         [[route]]\npath = \"/\"\ncomponent = \"app\"\n";
    let site = Site::with(manifest, &[("app.wasm", "hostile_p2")]);
    let host = site.serve().control().start();
    let mut late: Vec<Conn> = (0..2).map(|_| host.connect()).collect();
    for conn in &mut late {
        conn.send(wire::get("/deaf/hold")).unwrap();
    }
    wait_in_use(&host, 2);
    for _ in 0..2 {
        assert_eq!(host.get("/deep").status(), 500);
    }
    expect_put_aside(&host.get("/"), 600);
    site.put("app.wasm", "hello_p2");
    host.ctl(["reload"]).expect_code(0);
    assert_eq!(host.get("/").status(), 200, "this one has done nothing");
    for conn in &mut late {
        assert_eq!(conn.read_response("GET").unwrap().status(), 504, "of the version before");
    }
    assert_eq!(host.get("/").status(), 200);
}

#[test]
fn component_without_a_breaker_is_never_put_aside() {
    let host = beside_a_good_one("trap_p2", "", "").serve().control().start();
    for _ in 0..30 {
        assert_eq!(host.get("/app/").status(), 500);
    }
    assert_eq!(component(&status(&host), "app")["put_aside_ms"], Value::Null);
}
