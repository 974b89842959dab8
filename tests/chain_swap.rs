//! Chains while their parts are swapped, and while the process stops: no request is lost, and each
//! ends on what it began with.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use crate::support::app::{reload, text, variant, version, version_h2};
use crate::support::chain::Chain;
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::status::{wait_all_instances_free, wait_in_flight};
use crate::support::stop::{Held, OPEN, POST_HEAD, StopSummary, expect_cut, lose_patience, stop};
use crate::support::wire::{self, assert_broken};

/// A plugin before a plugin, of each kind, and an application of each kind.
const CHAINS: [([&str; 2], &str); 4] = [
    (["mark_p2", "mark_p2"], "gate_p2"),
    (["mark_p3", "mark_p3"], "gate_p3"),
    (["mark_p2", "mark_p3"], "gate_p3"),
    (["mark_p3", "mark_p2"], "gate_p2"),
];

/// A request that the application holds before its head.
#[track_caller]
fn hold_head(host: &Host) -> Conn {
    let mark = host.mark();
    let mut conn = host.connect();
    conn.send(POST_HEAD).unwrap();
    host.wait_log_after(mark, says::GATE_STARTED);
    conn
}

/// Lets it end, and gives the plugins that its answer has come through.
#[track_caller]
fn let_go(mut conn: Conn) -> String {
    conn.send(OPEN).unwrap();
    let answer = conn.read_response("POST").unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "done\n"), "{answer}");
    marks(&answer.head)
}

fn marks(head: &Head) -> String {
    head.headers_named("x-chain").collect::<Vec<_>>().join(" ")
}

/// What the log says of a reload that was carried out.
#[track_caller]
fn reloaded(host: &Host, site: &Site, toml: &str) -> String {
    site.write(toml);
    let outcome = reload(host);
    assert!(outcome.contains("swap: reloaded in "), "{outcome}");
    outcome
}

#[test]
fn a_request_in_flight_keeps_its_chain_when_a_reload_changes_it() {
    for (plugins, app) in CHAINS {
        let chain = Chain::new(&plugins, app);
        let site = Site::new(&chain.toml());
        let host = site.serve().start();
        let mut held = vec![hold_head(&host)];
        let said = reloaded(&host, &site, &chain.toml().replace("\"one\", ", ""));
        assert!(said.contains("routes changed"), "{said}");
        held.push(hold_head(&host));
        reloaded(&host, &site, &chain.toml().replace("\"one\", \"two\"", "\"two\", \"one\""));
        held.push(hold_head(&host));
        reloaded(&host, &site, &chain.toml().replace("[\"one\", \"two\"]", "[]"));
        held.push(hold_head(&host));
        let ways: Vec<_> = held.into_iter().map(let_go).collect();
        assert_eq!(ways, ["two one", "two", "one two", ""], "{plugins:?} {app}");
        assert_eq!(marks(&host.get("/").head), "");
    }
}

#[test]
fn a_request_in_flight_keeps_the_generations_of_its_plugins() {
    for (plugins, app) in CHAINS {
        let chain = Chain::new(&plugins, app);
        let site = Site::new(&chain.toml());
        let host = site.serve().control().start();
        let held = hold_head(&host);
        let streams = Held::on(&host);
        let other = chain.toml().replace("config.mark = \"one\"", "config.mark = \"uno\"");
        let said = reloaded(&host, &site, &other);
        assert!(said.contains("changed: one"), "{said}");
        assert_eq!(marks(&host.get("/").head), "two uno", "the next one runs the new version");
        // Another kind, by hand, under the same entry of the manifest.
        let file = guest(if plugins[1] == "mark_p2" { "mark_p3" } else { "mark_p2" });
        host.ctl(["swap", "--component", "two", text(&file)]).expect_code(0);
        assert_eq!(marks(&host.get("/").head), "two uno");
        assert!(!host.log().contains(says::RETIRED_GONE), "two are held");
        assert_eq!(let_go(held), "two one", "{plugins:?} {app}");
        let mut conn = streams.open();
        host.wait_log_nth(says::RETIRED_GONE, 2);
        assert_eq!(marks(&conn.get("/").unwrap().head), "two uno", "the same connection");
    }
}

/// It stands in the queue of a plugin while a reload takes away what is behind that plugin.
#[test]
fn a_request_that_waits_for_its_plugin_still_finds_those_behind_it_after_a_reload() {
    for kind in ["p2", "p3"] {
        let mark = format!("mark_{kind}");
        let chain = Chain::new(&[&mark, &mark], "gate_p2")
            .say("one", "limits.instances = 1\nlimits.queue-timeout = \"1m\"");
        let other = Chain::new(&[&mark], "hello_p2")
            .say("one", "limits.instances = 1\nlimits.queue-timeout = \"1m\"")
            .toml()
            .replace("component.app", "component.other")
            .replace("component = \"app\"", "component = \"other\"");
        let site = Site::new(&chain.toml());
        let host = site.serve().control().start();
        let held = hold_head(&host);
        let mut waits = host.connect();
        waits.send(wire::get("/")).unwrap();
        wait_in_flight(&host, 2);
        let said = reloaded(&host, &site, &other);
        assert!(said.contains("removed: app, two"), "{said}");
        assert_eq!(let_go(held), "two one");
        let answer = waits.read_response("GET").unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "started\ndone\n"), "{kind}");
        assert_eq!(marks(&answer.head), "two one");
        let answer = host.get("/");
        assert_eq!(
            (answer.text().as_str(), marks(&answer.head).as_str()),
            ("hello world\n", "one")
        );
    }
}

/// Of each protocol.
const CLIENTS: usize = 6;
const SWAPS: usize = 24;

/// Whether the run is over.
#[derive(Default)]
struct Over(AtomicBool);

/// Ends the run, also when who holds it fails.
struct Alarm<'a>(&'a Over);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Over {
    fn yet(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Asks until it is over, on one connection, and tells of each answer.
fn http1(host: &Host, over: &Over, answers: &Sender<()>) {
    let mut conn = host.connect();
    while !over.yet() {
        let answer = conn.get("/?bytes=350").expect("no request fails");
        assert!(!answer.head.says_close(), "{answer}");
        assert_eq!((answer.body.bytes.len(), marks(&answer.head).as_str()), (350, "two"));
        version(&answer);
        answers.send(()).ok();
    }
}

/// The same over HTTP/2, with one stream at a time.
fn http2(host: &Host, over: &Over, answers: &Sender<()>) {
    let mut h2 = H2::connect(host.addr());
    for stream in (1..).step_by(2) {
        if over.yet() {
            return;
        }
        h2.get(stream, "/?bytes=350");
        let answer = h2.expect_answer(stream);
        assert_eq!(answer.body.len(), 350);
        version_h2(&answer);
        answers.send(()).ok();
    }
}

#[test]
fn no_request_is_lost_while_plugins_and_application_are_swapped() {
    let chain = Chain::new(&["pass_p2", "mark_p3", "pass_p3"], "version_a_p2");
    let host = chain.start_with_control();
    let swaps: [(&str, [&str; 2]); 4] = [
        ("one", ["pass_p3", "pass_p2"]),
        ("app", ["version_b_p3", "version_a_p2"]),
        ("two", ["mark_p2", "mark_p3"]),
        ("three", ["pass_p2", "pass_p3"]),
    ];
    let swap = |number: usize| {
        let (component, files) = swaps[number % swaps.len()];
        let file = guest(files[number / swaps.len() % 2]);
        host.ctl(["swap", "--component", component, text(&file)]).expect_code(0);
    };
    // All are compiled once: that takes long beside clients that never pause.
    (0..2 * swaps.len()).for_each(swap);
    let over = Over::default();
    let (send, answers) = mpsc::channel();
    thread::scope(|scope| {
        for send in vec![send; CLIENTS] {
            let other = send.clone();
            scope.spawn(|| {
                let send = send;
                http1(&host, &over, &send);
            });
            scope.spawn(|| {
                let other = other;
                http2(&host, &over, &other);
            });
        }
        let _alarm = Alarm(&over);
        for number in 0..SWAPS {
            for _ in 0..2 * CLIENTS {
                answers.recv_timeout(PATIENCE).expect("answers, all the time");
            }
            swap(number);
        }
    });
    wait_all_instances_free(&host);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

#[test]
fn chains_in_flight_end_well_in_a_stop_and_each_is_counted_once() {
    for (plugins, app) in CHAINS {
        let host = Chain::new(&plugins, app).start();
        let streams = [Held::on(&host), Held::on(&host)];
        let heads = [hold_head(&host), hold_head(&host)];
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/", false);
        assert_eq!(h2.expect_data(1).0, b"started\n");
        stop(&host);
        for held in heads {
            assert_eq!(let_go(held), "two one");
        }
        for held in streams {
            held.open().expect_fin();
        }
        h2.send_data(1, b"", true);
        assert_eq!(h2.expect_answer(1).body, b"done\n");
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        assert_eq!(StopSummary::read(&exit).finished, 5, "{plugins:?} {app}");
    }
}

#[test]
fn chains_that_outlast_the_drain_are_cut_and_each_is_counted_once() {
    for (plugins, app) in CHAINS {
        for (by_hand, drain) in [(false, "1s"), (true, "1m")] {
            let chain = Chain::new(&plugins, app);
            let chain = chain.and(&format!("[stop]\ndrain-timeout = {drain:?}"));
            let host = chain.start();
            let (mut stream, head) = Held::on(&host).into_conn();
            let mut waits = hold_head(&host);
            stop(&host);
            if by_hand {
                lose_patience(&host, Signal::TERM);
            }
            expect_cut(&mut waits);
            assert_broken(stream.read_body(&head, "POST"));
            let exit = host.wait_exit();
            // A second signal ends as by that signal.
            exit.expect_code(if by_hand { 128 + 15 } else { 1 });
            let told = StopSummary::read(&exit);
            assert_eq!((told.cut, told.finished), (2, 0), "{plugins:?} {app}: {}", exit.last_line);
        }
    }
}

/// The request goes on without its plugin, and is the same request to a stop.
#[test]
fn an_exchange_whose_open_plugin_has_failed_is_drained_and_cut_like_any_other() {
    for kind in ["p2", "p3"] {
        let chain =
            Chain::new(&[&format!("plugin_bad_{kind}")], "gate_p2").say("one", "fail = \"open\"");
        let request =
            "POST / HTTP/1.1\r\nHost: t\r\nx-fail: trap\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (ends, drain) in [(true, "1m"), (false, "1s")] {
            let host = chain.clone().and(&format!("[stop]\ndrain-timeout = {drain:?}")).start();
            let mut conn = host.connect();
            conn.send(request).unwrap();
            let head = conn.read_head().unwrap();
            assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(&b"started\n"[..]));
            host.wait_log(says::PASSED_BY);
            stop(&host);
            let due = if ends {
                conn.send(OPEN).unwrap();
                let body = conn.read_body(&head, "POST");
                assert_eq!(body.expect(kind).text(), "done\n", "{kind}");
                (0, 1, 0)
            } else {
                assert_broken(conn.read_body(&head, "POST"));
                (1, 0, 1)
            };
            let exit = host.wait_exit();
            let told = StopSummary::read(&exit);
            assert_eq!((exit.code, told.finished, told.cut), due, "{kind}: {}", exit.last_line);
        }
    }
}

#[test]
fn a_replaced_version_in_a_chain_is_cut_when_its_time_is_up() {
    for (plugins, app) in CHAINS {
        for (name, file) in [("app", "hello_p2"), ("one", "mark_p2"), ("two", "mark_p3")] {
            let chain = Chain::new(&plugins, app).and("[swap]\nretire-timeout = \"1s\"");
            // Other bytes than those that are served, of the same guest.
            let site = Site::new(&chain.toml());
            let host = site.serve().control().start();
            let (mut stream, head) = Held::on(&host).into_conn();
            let mut waits = hold_head(&host);
            site.put_bytes("new.wasm", &variant(file, 1));
            host.ctl(["swap", "--component", name, &site.file("new.wasm")]).expect_code(0);
            host.wait_log(says::RETIRED_CUT);
            assert_broken(stream.read_body(&head, "POST"));
            let answer = waits.read_response("POST").unwrap();
            let whole = (answer.status(), answer.text());
            assert_eq!(whole, (503, "replaced; try again\n".into()), "{name} {plugins:?}");
            assert_eq!(answer.header("retry-after"), Some("1"));
            // The plugin before it passed the answer on.
            let before = match name {
                "app" => "two one",
                "two" => "one",
                _ => "",
            };
            assert_eq!(marks(&answer.head), before, "{name} {plugins:?} {app}");
            host.wait_log(says::RETIRED_GONE);
            drop((stream, waits));
            wait_all_instances_free(&host);
        }
    }
}
