//! The claim for swaps: no request is lost, none is answered by two versions, and none that begins
//! after a swap runs the old one, whichever client asks.

use std::thread;

use crate::support::app::{App, expect_swapped, reload, variant, version, version_h2};
use crate::support::prelude::*;
use crate::support::rounds::{Rounds, Ticket};

const SWAPS: usize = 50;
const EACH_ROUND: usize = 200;
/// One round more than swaps: 10,200.
const REQUESTS: usize = (SWAPS + 1) * EACH_ROUND;
/// Connections of each protocol.
const CONNECTIONS: usize = 32;
/// Three pieces of the guest's and a half.
const PATH: &str = "/?bytes=350";
const LETTERS: [&str; 2] = ["a", "b"];

/// The request was answered by `letter`: it must be of a version that served while the request
/// was in flight.
#[track_caller]
fn judge(rounds: &Rounds, ticket: Ticket, letter: &str) {
    let what = format!("version {letter} answered a request that was sent");
    rounds.judge(ticket, &what, |swaps| LETTERS[swaps % 2] == letter);
}

/// A client of HTTP/1 with one connection, which it gives back.
fn http1(rounds: &Rounds, host: &Host) -> Conn {
    let _alarm = rounds.alarm();
    let mut conn = host.connect();
    while let Some(ticket) = rounds.ticket() {
        let answer = conn.get(PATH).expect("no request fails");
        assert!(!answer.head.says_close(), "nobody is told to leave: {answer}");
        assert_eq!(answer.body.bytes.len(), 350);
        judge(rounds, ticket, &version(&answer));
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
        h2.get(stream, PATH);
        let answer = h2.expect_answer(stream);
        assert_eq!(answer.body.len(), 350);
        judge(rounds, ticket, &version_h2(&answer));
    }
    h2.conn
}

/// Swaps between the two `guests`, of which the first is version a and the second version b, on a
/// host with `args`.
#[track_caller]
fn lose_nothing(guests: [&str; 2], args: &[&str]) {
    // Two files of each version: the one before is kept for a rollback, and would not be loaded.
    let files: Vec<_> =
        (0..2).flat_map(|number| guests.map(|guest| variant(guest, number))).collect();
    let app = App::new(guests[0]);
    let host = app.serve().args(args.iter().copied()).start();
    let rounds = Rounds::new(SWAPS, EACH_ROUND);
    let conns: Vec<Conn> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .flat_map(|_| {
                [scope.spawn(|| http1(&rounds, &host)), scope.spawn(|| http2(&rounds, &host))]
            })
            .collect();
        rounds.carry_out(|number| {
            app.put_bytes(&files[number % files.len()]);
            expect_swapped(&reload(&host));
        });
        clients.into_iter().map(|client| client.join().expect("a client that failed")).collect()
    });
    let state = rounds.state();
    assert_eq!((state.answered, state.over), (REQUESTS, SWAPS));
    println!("{guests:?}: {} of {REQUESTS} answers came during a swap", state.meanwhile);
    for conn in &conns {
        assert!(matches!(conn.glance(), Glance::Quiet | Glance::Bytes), "a connection was closed");
    }
    host.wait_log_nth(says::RETIRED_GONE, SWAPS);
    drop(conns);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

#[test]
fn ten_thousand_requests_over_fifty_swaps_are_each_answered_by_one_version_p2() {
    lose_nothing(["version_a_p2", "version_b_p2"], &[]);
}

#[test]
fn ten_thousand_requests_over_fifty_swaps_are_each_answered_by_one_version_p3() {
    lose_nothing(["version_a_p3", "version_b_p3"], &[]);
}

#[test]
fn ten_thousand_requests_over_fifty_swaps_from_p2_to_p3_and_back_are_each_answered_by_one_version()
{
    lose_nothing(["version_a_p2", "version_b_p3"], &[]);
}

#[test]
fn ten_thousand_requests_over_fifty_swaps_with_reuse_are_each_answered_by_one_version() {
    let reuse = ["--reuse", "20", "--reuse-concurrency", "4"];
    lose_nothing(["version_a_p2", "version_b_p3"], &reuse);
    lose_nothing(["version_a_p3", "version_b_p2"], &reuse);
}
