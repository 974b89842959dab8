//! Limits and time of a plugin are its own, and not of those behind it.

use std::thread;

use crate::chain_failures::{FAILS, KINDS, answer, ask, bad, get, post, timed};
use crate::support::chain::Chain;
use crate::support::prelude::*;
use crate::support::status::{component, status, wait_all_instances_free, wait_status};
use crate::support::stop::whole_log;
use crate::support::wire;

#[test]
fn a_plugin_at_its_limit_is_503_closed_and_left_out_open() {
    for kind in KINDS {
        for fail in FAILS {
            let host = Chain::new(&[&format!("mark_{kind}")], "gate_p2")
                .say("one", &format!("fail = {fail:?}"))
                .say("one", "limits.instances = 1\nlimits.queue = 0")
                .start_with_control();
            let mut held = host.connect();
            held.send(wire::chunked("/head")).unwrap();
            host.wait_log(says::GATE_STARTED);
            let answer = host.get("/head");
            match fail {
                "open" => {
                    assert_eq!((answer.status(), answer.text().as_str()), (200, "done\n"));
                    assert_eq!(answer.header("x-chain"), None);
                    host.wait_log(says::PASSED_BY);
                }
                _ => {
                    assert_eq!((answer.status(), answer.text().as_str()), (503, "too busy\n"));
                    assert_eq!(answer.header("retry-after"), Some("1"));
                }
            }
            // A body goes the same way, whole.
            let (status, text) = ask(&host, &post("/", ""));
            let due = if fail == "open" { (200, "started\ndone\n") } else { (503, "too busy\n") };
            assert_eq!((status, text.as_str()), due);
            held.send(wire::LAST_CHUNK).unwrap();
            let answer = held.read_response("POST").unwrap();
            assert_eq!((answer.status(), answer.header("x-chain")), (200, Some("one")));
            wait_all_instances_free(&host);
            assert_eq!(host.get("/head").header("x-chain"), Some("one"));
        }
    }
}

#[test]
fn a_plugin_that_is_put_aside_is_503_closed_and_left_out_open() {
    for kind in KINDS {
        for fail in FAILS {
            let host = bad(kind, fail, "hello_p2")
                .say("one", "breaker.failures = 2\nbreaker.pause = \"60s\"")
                .start_with_control();
            for mode in ["trap", "after"] {
                let due = if fail == "open" && mode == "trap" { 200 } else { 502 };
                assert_eq!(ask(&host, &get(mode)), answer(due));
            }
            host.wait_log("component keeps failing and is put aside");
            let status = status(&host);
            let aside = |name| &component(&status, name)["put_aside_ms"];
            assert!(aside("one").as_u64().is_some_and(|ms| ms > 30_000));
            assert!(aside("app").is_null());
            // It would do well now, and is not asked.
            let answer = host.get("/");
            if fail == "open" {
                assert_eq!((answer.status(), answer.text().as_str()), (200, "hello world\n"));
                host.wait_log_nth(says::PASSED_BY, 2);
            } else {
                let text = "out of service for a while\n";
                assert_eq!((answer.status(), answer.text().as_str()), (503, text));
                let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((30..=60).contains(&seconds), "{seconds}");
            }
        }
    }
}

#[test]
fn the_time_of_the_application_is_not_the_plugins() {
    thread::scope(|scope| {
        for kinds in [["p2", "p3"], ["p3", "p2"], ["p2", "p2"], ["p3", "p3"]] {
            for fail in FAILS {
                scope.spawn(move || expect_time_of_its_own(kinds, fail));
            }
        }
    });
}

/// Plugins that have less time than the application takes, and more than they need on a busy machine.
#[track_caller]
fn expect_time_of_its_own([first, second]: [&str; 2], fail: &str) {
    let plugins = [format!("pass_{first}"), format!("mark_{second}")];
    let host = Chain::new(&plugins.each_ref().map(String::as_str), "sleep_p3")
        .say("one", "limits.response-head-timeout = \"2s\"")
        .say("two", "limits.response-head-timeout = \"2s\"")
        .say("one", &format!("fail = {fail:?}"))
        .say("two", &format!("fail = {fail:?}"))
        .say("app", "limits.response-head-timeout = \"6s\"")
        .start();
    let (mut slow, mut late) = (host.connect(), host.connect());
    slow.send(wire::get("/?ms=3000")).unwrap();
    late.send(wire::get("/?ms=600000")).unwrap();
    let answer = slow.read_response("GET").unwrap();
    assert_eq!((answer.status(), answer.header("x-chain")), (200, Some("two")), "{answer}");
    let answer = late.read_response("GET").unwrap();
    assert_eq!((answer.status(), answer.header("x-chain")), (504, Some("two")), "{answer}");
    drop((slow, late));
    assert!(!whole_log(host).contains(says::PASSED_BY), "{first} {second} {fail}");
}

/// `exchange-timeout` bounds the component's own exchange, so what an open plugin before it has
/// wasted is not counted.
#[test]
fn the_time_of_an_open_plugin_that_failed_is_not_the_applications() {
    for kind in KINDS {
        for mode in ["hang", "spin"] {
            let host = timed(kind, "open", "sleep_p2", ["3s", "3s"])
                .say("app", "limits.exchange-timeout = \"2900ms\"")
                .start();
            let request = get(mode).replace("GET / ", "GET /?ms=100 ");
            assert_eq!(ask(&host, &request).0, 200, "{kind} {mode}");
        }
    }
}

#[test]
fn plugins_that_spin_leave_the_neighbours_of_their_chain_alone() {
    for kind in KINDS {
        let host = Chain::new(&[&format!("plugin_bad_{kind}")], "hello_p2")
            .say("one", "limits.cpu-time = \"1h\"")
            .say("one", "limits.response-head-timeout = \"1h\"")
            .and("[[route]]\npath = \"/app\"\ncomponent = \"app\"")
            .start_with_control();
        let cores = thread::available_parallelism().expect("known").get();
        let mut spinners: Vec<Conn> = (0..2 * cores).map(|_| host.connect()).collect();
        for conn in &mut spinners {
            conn.send(get("spin")).unwrap();
        }
        wait_status(&host, "spinning", |status| {
            component(status, "one")["instances"]["in_use"] == 2 * cores
        });
        for _ in 0..20 {
            assert_eq!(host.get("/app").text(), "hello world\n");
        }
        assert!(spinners.iter().all(Conn::is_quiet), "they still spin");
        spinners.into_iter().for_each(Conn::reset);
        wait_all_instances_free(&host);
    }
}
