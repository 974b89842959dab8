//! Whose time it is: a guest that can only wait for its client, or for those behind it, is not cut for
//! that and not put aside.

use std::thread::{self, sleep};
use std::time::Duration;

use serde_json::Value;

use crate::support::app::variant;
use crate::support::chain::Chain;
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::status::{component, status, wait_all_instances_free, wait_in_use};
use crate::support::wire::{self, assert_broken};

const KINDS: [&str; 2] = ["p2", "p3"];

/// Put aside by the first failure that counts.
const BREAKER: &str = "breaker.failures = 1\nbreaker.pause = \"60s\"";

/// For how long this component is put aside.
#[track_caller]
fn put_aside(host: &Host, name: &str) -> Value {
    component(&status(host), name)["put_aside_ms"].clone()
}

/// The pace of a client was taken for the silence of the application: broken after 5 of 20 MiB.
#[test]
fn a_client_that_pauses_gets_its_download_whole_behind_a_plugin() {
    thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || {
                let host = Chain::new(&[&format!("pass_{kind}")], "big_p3")
                    .say("app", "limits.body-idle-timeout = \"2s\"")
                    .and("[limits]\ncpu-time = \"5m\"")
                    .start_with_control();
                let mut slow = host.connect();
                slow.send(wire::get("/?kib=20480")).unwrap();
                let head = slow.read_head().unwrap();
                // The pause is what this is about.
                sleep(Duration::from_secs(3));
                let body = slow.read_body(&head, "GET").unwrap();
                assert_eq!(body.bytes.len(), 20 << 20, "{kind}");
                drop(slow);
                wait_all_instances_free(&host);
            });
        }
    });
}

/// Both clocks ended at once, and mostly it was the plugin that was put aside.
#[test]
fn an_application_that_is_late_is_put_aside_and_not_the_plugin_before_it() {
    for kind in KINDS {
        for (app, path, limit) in [
            ("drip_p2", "/?n=2&ms=600000", "limits.body-idle-timeout = \"500ms\""),
            ("drip_p3", "/?n=2&ms=600000", "limits.exchange-timeout = \"500ms\""),
            ("sleep_p2", "/?ms=600000", "limits.exchange-timeout = \"500ms\""),
            ("sleep_p3", "/?ms=600000", "limits.response-head-timeout = \"500ms\""),
        ] {
            let host = ["one", "two", "app"]
                .into_iter()
                .fold(Chain::new(&[&format!("pass_{kind}"), "mark_p3"], app), |chain, name| {
                    chain.say(name, limit).say(name, BREAKER)
                })
                .start_with_control();
            let mut conn = host.connect();
            conn.send(wire::get(path)).unwrap();
            let head = conn.read_head().unwrap();
            if head.status == 200 {
                assert_broken(conn.read_body(&head, "GET"));
            } else {
                assert_eq!(head.status, 504, "{kind} {app} {limit}");
            }
            host.wait_log("component keeps failing and is put aside");
            assert!(put_aside(&host, "app").is_u64(), "{kind} {app} {limit}");
            for plugin in ["one", "two"] {
                assert!(put_aside(&host, plugin).is_null(), "{plugin} {kind} {app} {limit}");
            }
        }
    }
}

/// It got a 504, and the component was put aside for it.
#[test]
fn an_upload_slower_than_the_time_to_the_head_gets_its_answer() {
    thread::scope(|scope| {
        for kind in KINDS {
            for plugins in [&[][..], &["pass_p2"], &["pass_p3"]] {
                scope.spawn(move || expect_answer_to_slow_upload(kind, plugins));
            }
        }
    });
}

#[track_caller]
fn expect_answer_to_slow_upload(kind: &str, plugins: &[&str]) {
    let chain = Chain::new(plugins, &format!("reader_{kind}")).say("app", BREAKER);
    let chain = match plugins {
        [] => chain,
        _ => chain.say("one", BREAKER),
    };
    let host =
        chain.and("[limits]\nresponse-head-timeout = \"2s\"\nbody-idle-timeout = \"3s\"").start();
    let mut conn = host.connect();
    conn.send(wire::chunked("/count")).unwrap();
    for _ in 0..6 {
        // The pace is what this is about.
        sleep(Duration::from_millis(500));
        conn.send(wire::chunk("x")).unwrap();
    }
    conn.send(wire::LAST_CHUNK).unwrap();
    let answer = conn.read_response("POST").unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "6 bytes\n"), "{plugins:?}");
    // A client that stops sending is told that it is too slow, and no component is put aside.
    conn.send(wire::chunked("/count")).unwrap();
    conn.send(wire::chunk("x")).unwrap();
    assert_eq!(conn.read_head().unwrap().status, 408, "{kind} {plugins:?}");
    assert_eq!(host.get("/count").status(), 200, "{kind} {plugins:?}");
}

/// The client was told that it had broken off its request, and lost its connection.
#[test]
fn a_plugin_that_breaks_off_a_request_is_no_fault_of_client_or_application() {
    let host = Chain::new(&["pass_p2"], "gate_p2")
        .say("one", "fail = \"open\"\nlimits.exchange-timeout = \"500ms\"")
        .say("app", BREAKER)
        .start_with_control();
    let mut conn = host.connect();
    conn.send(wire::chunked("/head")).unwrap();
    let head = conn.read_head().unwrap();
    assert_eq!((head.status, head.says_close()), (504, false), "the plugin was too slow");
    assert!(put_aside(&host, "app").is_null());
}

/// It took the request along, though the application had not been asked.
#[test]
fn an_open_plugin_that_hangs_and_is_replaced_is_left_out() {
    for kind in KINDS {
        let guest = format!("plugin_bad_{kind}");
        let chain = Chain::new(&[&guest], "hello_p2")
            .say("one", "fail = \"open\"")
            .and("[swap]\nretire-timeout = \"500ms\"");
        let site = Site::new(&chain.toml());
        let host = site.serve().control().start();
        let mut conn = host.connect();
        conn.send("GET / HTTP/1.1\r\nHost: t\r\nx-fail: hang\r\n\r\n").unwrap();
        wait_in_use(&host, 1);
        site.put_bytes("new.wasm", &variant(&guest, 1));
        host.ctl(["swap", "--component", "one", &site.file("new.wasm")]).expect_code(0);
        let answer = conn.read_response("GET").unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello world\n"), "{kind}");
        host.wait_log(says::PASSED_BY);
    }
}
