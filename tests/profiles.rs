//! Profiles of limits, and what one exchange may send out.

use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::status::json;
use crate::support::upstream::Upstream;
use crate::support::wire;

const GUESTS: [&str; 2] = ["grants_p2", "grants_p3"];

/// One component that may send to the upstream, with these tables.
fn sending(guest: &str, upstream: &Upstream, tables: &str) -> Site {
    let port = upstream.port();
    Site::new(&format!(
        "[component.app]\nsource = \"guest:{guest}\"\n\
         [component.app.grants]\noutgoing = [\"http://127.0.0.1:{port}\"]\n{tables}\n"
    ))
}

/// What the guest says of so many requests, one after the other.
#[track_caller]
fn fetch(host: &Host, upstream: &Upstream, times: usize) -> String {
    let url = format!("http://127.0.0.1:{}/", upstream.port());
    let answer = host.get(&format!("/fetch?times={times}&url={url}"));
    assert_eq!(answer.status(), 200, "{answer}");
    answer.text()
}

const REFUSED: &str = "error: connection-limit-reached\n";

#[test]
fn exchange_sends_32_requests_and_no_more_and_the_limit_is_named() {
    for guest in GUESTS {
        let upstream = Upstream::start();
        let host = sending(guest, &upstream, "").serve().start();
        assert!(fetch(&host, &upstream, 32).starts_with("200\n"), "{guest}");
        assert_eq!(upstream.requests(), 32);
        assert_eq!(fetch(&host, &upstream, 33), REFUSED, "{guest}");
        assert_eq!(upstream.requests(), 64, "the last one was not sent");
        let line = host.wait_log("outgoing request refused");
        let limit = "outgoing-per-exchange: 32 reached (limits.outgoing-per-exchange)";
        assert!(line.contains(limit) && line.contains("component=\"app\""), "{line}");
    }
}

#[test]
fn each_exchange_of_a_reused_instance_begins_anew() {
    for guest in GUESTS {
        let upstream = Upstream::start();
        let tables = "[component.app.limits]\noutgoing-per-exchange = 3\n\
                      [component.app.reuse]\nexchanges = 100\n";
        let host = sending(guest, &upstream, tables).serve().start();
        for _ in 0..4 {
            assert!(fetch(&host, &upstream, 3).starts_with("200\n"), "{guest}");
        }
        assert_eq!(fetch(&host, &upstream, 4), REFUSED, "{guest}");
        assert_eq!(upstream.requests(), 15);
        assert!(fetch(&host, &upstream, 1).starts_with("200\n"), "{guest}");
    }
}

#[test]
fn strict_profile_bounds_memory_cpu_bodies_and_requests() {
    let upstream = Upstream::start();
    let port = upstream.port();
    let source = |name: &str, guest: &str| {
        format!(
            "[component.{name}]\nsource = \"guest:{guest}\"\n\
             [[route]]\npath = \"/{name}\"\ncomponent = \"{name}\"\nstrip-prefix = true\n"
        )
    };
    let site = Site::new(&format!(
        "[limits]\nprofile = \"strict\"\n{}{}{}{}\
         [component.app.grants]\noutgoing = [\"http://127.0.0.1:{port}\"]\n",
        source("app", "grants_p3"),
        source("busy", "busy_p2"),
        source("crash", "crash_p2"),
        source("echo", "echo_p3"),
    ));
    let host = site.serve().start();
    assert_eq!(host.get("/busy").status(), 504);
    host.wait_log("used more than 50ms of CPU time (limits.cpu-time)");
    assert_eq!(host.get("/crash/memory").status(), 500);
    host.wait_log("memory: 16MiB reached (limits.memory)");
    let mut conn = host.connect();
    conn.send(wire::sized("/echo", (1 << 20) + 1)).unwrap();
    assert_eq!(conn.read_response("POST").unwrap().status(), 413);
    let fetched = host.get(&format!("/app/fetch?times=33&url=http://127.0.0.1:{port}/"));
    assert_eq!(fetched.text(), REFUSED);
}

/// Three components: one that says nothing, one of strangers with two limits of its own, one that goes back.
fn profiles() -> Site {
    Site::with(
        "[limits]\nprofile = \"strict\"\nqueue = 7\n\
         [component.plain]\nsource = \"app.wasm\"\n\
         [component.own]\nsource = \"app.wasm\"\n\
         [component.own.limits]\nmemory = \"32MiB\"\nexchange-timeout = \"off\"\n\
         [component.back]\nsource = \"app.wasm\"\n\
         [component.back.limits]\nprofile = \"default\"\n\
         [[route]]\npath = \"/\"\ncomponent = \"plain\"\n[route.rate-limit]\nrate = \"100/s\"\n\
         [[route]]\npath = \"/own\"\ncomponent = \"own\"\n\
         [[route]]\npath = \"/back\"\ncomponent = \"back\"\n",
        &[("app.wasm", "hello_p2")],
    )
}

#[test]
fn check_says_which_profile_a_component_has_and_what_stands_beside_it() {
    let site = profiles();
    let exit = Host::run(["check", "--json", site.text()]);
    exit.expect_code(0);
    let report = json(&exit);
    let components = report["components"].as_array().expect("a list");
    let told = |name: &str| {
        let of = components.iter().find(|one| one["name"] == name).expect("it is there");
        (of["profile"].as_str().expect("a word").to_owned(), of["beside_profile"].to_string())
    };
    assert_eq!(told("plain"), ("strict".into(), "[]".into()));
    let own = "[\"memory 32MiB\",\"exchange-timeout off\"]";
    assert_eq!(told("own"), ("strict".into(), own.into()));
    assert_eq!(told("back"), ("default".into(), "[]".into()));
    assert_eq!(report["routes"][0], "/: plain; 100/s for each client, burst 100");
    let text = Host::run(["check", site.text()]).stdout;
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("limits: ")).collect();
    assert_eq!(
        lines,
        [
            "limits: profile strict, but memory 32MiB, exchange-timeout off",
            "limits: profile strict"
        ]
    );
}

#[test]
fn profile_of_a_single_component_is_a_flag_and_others_beside_it_win() {
    let args = ["--profile", "strict", "--max-memory", "32MiB"];
    let host = Host::serve("busy_p2").args(args).control().start();
    assert_eq!(host.get("/").status(), 504);
    let limits = host.ctl(["status", "--limits"]).stdout;
    for (flag, value) in [
        ("--cpu-time", "50ms"),
        ("--max-memory", "32MiB"),
        ("--response-head-timeout", "5s"),
        ("--body-idle-timeout", "5s"),
        ("--exchange-timeout", "10s"),
        ("--after-timeout", "1s"),
        ("--hook-timeout", "1s"),
        ("--max-request-body", "1MiB"),
        ("--guest-log-rate", "64KiB/s"),
        ("--max-queue", "1000"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(flag));
        assert!(line.is_some_and(|line| line.ends_with(value)), "{flag} {value} in {limits}");
    }
}

#[test]
fn profile_that_is_none_is_refused() {
    let exit = Host::run(["serve", "app.wasm", "--profile", "lax"]);
    exit.expect_code(2);
    assert!(exit.stderr.contains("write default or strict"), "{}", exit.stderr);
}
