//! The claim for reloads: no request is lost, none is answered by two versions, and none that begins
//! after a reload goes where the manifest before would have sent it.

use std::thread;

use crate::support::app::{reload, variant, version, version_h2};
use crate::support::prelude::*;
use crate::support::rounds::{Rounds, Ticket};
use crate::support::site::{Site, component, route};

const RELOADS: usize = 30;
const EACH_ROUND: usize = 200;
/// Connections of each protocol.
const CONNECTIONS: usize = 32;

/// What is asked for, in turn.
const PATHS: [&str; 4] = ["/x", "/y", "/moves", "/comes"];

/// What the site is after `n` reloads:
///
/// - `one` is another version each time, by its file; `two` every other time, by its `source`;
/// - `/x` and `/y` lead to them, and every third time the other way round;
/// - `/moves` leads to a component that was not there before, and is not there afterwards;
/// - `/comes` leads somewhere every other time.
fn manifest(n: usize) -> String {
    let (x, y) = if crossed(n) { ("two", "one") } else { ("one", "two") };
    let moves = format!("moves-{n}");
    let letter = two(n);
    let mut text = component("one")
        + &format!("[component.two]\nsource = \"two-{letter}.wasm\"\n")
        + &format!("[component.{moves}]\nsource = \"moves-{}.wasm\"\n", one(n))
        + &route("/x", x)
        + &route("/y", y)
        + &route("/moves", &moves);
    if comes(n) {
        text += &(component("comes") + &route("/comes", "comes"));
    }
    text
}

fn one(n: usize) -> &'static str {
    if n.is_multiple_of(2) { "a" } else { "b" }
}

fn two(n: usize) -> &'static str {
    one(n / 2)
}

fn crossed(n: usize) -> bool {
    !(n / 3).is_multiple_of(2)
}

fn comes(n: usize) -> bool {
    !n.is_multiple_of(2)
}

/// Which version answers a request for `path` after `n` reloads; none if it is 404.
fn version_at(n: usize, path: &str) -> Option<&'static str> {
    match path {
        "/x" => Some(if crossed(n) { two(n) } else { one(n) }),
        "/y" => Some(if crossed(n) { one(n) } else { two(n) }),
        "/moves" => Some(one(n)),
        _ => comes(n).then_some("a"),
    }
}

/// Generations that are retired by reload `n`.
fn retired(n: usize) -> usize {
    2 + usize::from(two(n) != two(n - 1)) + usize::from(comes(n - 1))
}

/// Judges one whole answer.
#[track_caller]
fn judge(rounds: &Rounds, ticket: Ticket, status: u16, version: Option<&str>, body: &[u8]) {
    let path = PATHS[ticket.number % PATHS.len()];
    match version {
        Some(letter) => {
            assert_eq!((status, body.len()), (200, 350), "{path}");
            assert!(body.iter().all(|byte| [*byte] == letter.as_bytes()), "{path}: two versions");
        }
        None => assert_eq!((status, body), (404, &b"not found\n"[..]), "{path}"),
    }
    let what = format!("{path}: {version:?} is no answer to a request that was sent");
    rounds.judge(ticket, &what, |n| version_at(n, path) == version);
}

/// What is sent for a ticket: three pieces of the guest's and a half.
fn target(ticket: Ticket) -> String {
    format!("{}?bytes=350", PATHS[ticket.number % PATHS.len()])
}

/// A client of HTTP/1 with one connection, which it gives back.
fn http1(rounds: &Rounds, host: &Host) -> Conn {
    let _alarm = rounds.alarm();
    let mut conn = host.connect();
    while let Some(ticket) = rounds.ticket() {
        let answer = conn.get(&target(ticket)).expect("no request fails");
        assert!(!answer.head.says_close(), "nobody is told to leave: {answer}");
        let version = answer.header("x-version");
        judge(rounds, ticket, answer.status(), version, &answer.body.bytes);
    }
    conn
}

/// A client of HTTP/2 with one connection and one stream at a time.
fn http2(rounds: &Rounds, host: &Host) -> Conn {
    let _alarm = rounds.alarm();
    let mut h2 = H2::connect(host.addr());
    let mut streams = (1..).step_by(2);
    while let Some(ticket) = rounds.ticket() {
        let stream = streams.next().expect("endless");
        h2.get(stream, &target(ticket));
        let answer = h2.expect_answer(stream);
        let version = answer.headers.iter().find(|(name, _)| name == "x-version");
        let version = version.map(|(_, version)| version.as_str());
        judge(rounds, ticket, answer.status, version, &answer.body);
    }
    h2.conn
}

/// Reloads between manifests of the two `guests`, of which the first is version a and the second
/// version b.
#[track_caller]
fn lose_nothing([a, b]: [&str; 2], limits: &str) {
    let files = [
        ("two-a.wasm", a),
        ("two-b.wasm", b),
        ("moves-a.wasm", a),
        ("moves-b.wasm", b),
        ("comes.wasm", a),
        ("one.wasm", a),
    ];
    // Two files of each version: the one before is kept for a rollback, and would not be loaded.
    let ones: Vec<_> =
        (0..2).flat_map(|number| [a, b].map(|guest| variant(guest, number))).collect();
    let write = |n: usize| limits.to_owned() + &manifest(n);
    let site = Site::with(&write(0), &files);
    let host = site.serve().start();
    let rounds = Rounds::new(RELOADS, EACH_ROUND);
    let conns: Vec<Conn> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .flat_map(|_| {
                [scope.spawn(|| http1(&rounds, &host)), scope.spawn(|| http2(&rounds, &host))]
            })
            .collect();
        rounds.carry_out(|n| {
            site.put_bytes("one.wasm", &ones[n % ones.len()]);
            site.write(&write(n));
            let outcome = reload(&host);
            let (from, to) = (format!("removed: moves-{}", n - 1), "added: ");
            let whole =
                outcome.contains("swap: reloaded in ") && outcome.contains("routes changed");
            assert!(whole && outcome.contains(to), "{outcome}");
            assert!(
                outcome.contains(&from) || outcome.contains("removed: comes, moves-"),
                "{outcome}"
            );
        });
        clients.into_iter().map(|client| client.join().expect("a client that failed")).collect()
    });
    let state = rounds.state();
    assert_eq!((state.answered, state.over), (rounds.requests(), RELOADS));
    println!("{a}, {b}: {} of {} answers came during a reload", state.meanwhile, state.answered);
    for conn in &conns {
        assert!(matches!(conn.glance(), Glance::Quiet | Glance::Bytes), "a connection was closed");
    }
    host.wait_log_nth(says::RETIRED_GONE, (1..=RELOADS).map(retired).sum());
    drop(conns);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

#[test]
fn six_thousand_requests_over_thirty_reloads_are_each_answered_by_one_version_p2() {
    lose_nothing(["version_a_p2", "version_b_p2"], "");
}

#[test]
fn six_thousand_requests_over_thirty_reloads_are_each_answered_by_one_version_p3() {
    lose_nothing(["version_a_p3", "version_b_p3"], "");
}

/// Few instances, so that there is a queue before each component at every reload.
#[test]
fn requests_in_queues_are_served_over_thirty_reloads() {
    let limits = "[limits]\ninstances = 2\nqueue-timeout = \"1m\"\n";
    lose_nothing(["version_a_p2", "version_b_p3"], limits);
}

/// After `n` reloads `/` leads to the one of two components that is version a then, and the other one is
/// version b. So version b answers a request that meets the routes of one manifest and a component of another.
fn turned(n: usize) -> String {
    let (good, bad) = if n.is_multiple_of(2) { ("left", "right") } else { ("right", "left") };
    format!("[component.{good}]\nsource = \"a.wasm\"\n[component.{bad}]\nsource = \"b.wasm\"\n")
        + &route("/", good)
}

fn expect_a_http1(rounds: &Rounds, host: &Host) {
    let _alarm = rounds.alarm();
    let mut conn = host.connect();
    while let Some(ticket) = rounds.ticket() {
        let answer = conn.get("/?bytes=350").expect("no request fails");
        let version = version(&answer);
        rounds.judge(ticket, &version, |_| version == "a");
    }
}

fn expect_a_http2(rounds: &Rounds, host: &Host) {
    let _alarm = rounds.alarm();
    let mut h2 = H2::connect(host.addr());
    let mut streams = (1..).step_by(2);
    while let Some(ticket) = rounds.ticket() {
        let stream = streams.next().expect("endless");
        h2.get(stream, "/?bytes=350");
        let version = version_h2(&h2.expect_answer(stream));
        rounds.judge(ticket, &version, |_| version == "a");
    }
}

#[test]
fn no_request_meets_the_routes_of_one_manifest_and_a_component_of_another() {
    for [a, b] in [["version_a_p2", "version_b_p2"], ["version_a_p3", "version_b_p3"]] {
        let site = Site::with(&turned(0), &[("a.wasm", a), ("b.wasm", b)]);
        let host = site.serve().start();
        let rounds = Rounds::new(RELOADS, EACH_ROUND);
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS / 2 {
                scope.spawn(|| expect_a_http1(&rounds, &host));
                scope.spawn(|| expect_a_http2(&rounds, &host));
            }
            rounds.carry_out(|n| {
                site.write(&turned(n));
                let outcome = reload(&host);
                let words = "; changed: left, right; routes changed";
                assert!(
                    outcome.contains("swap: reloaded in ") && outcome.contains(words),
                    "{outcome}"
                );
            });
        });
        let state = rounds.state();
        assert_eq!((state.answered, state.over), (rounds.requests(), RELOADS));
        println!("{a}: {} of {} answers came during a reload", state.meanwhile, state.answered);
    }
}
