//! The claim for swaps: no request is lost, none is answered by two versions, and none that begins
//! after a swap runs the old one, whoever asks and however.
//!
//! Requests are counted, not timed. They come in rounds: a swap is asked for in the middle of each,
//! and the next round is opened by the swap's outcome. So every swap has requests in flight.

use std::ops::RangeInclusive;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use crate::support::app::{App, expect_swapped, reload, variant, version, version_h2};
use crate::support::prelude::*;

const SWAPS: usize = 50;
const EACH_ROUND: usize = 200;
/// One round more than swaps: 10,200.
const REQUESTS: usize = (SWAPS + 1) * EACH_ROUND;
/// Connections of each protocol.
const CONNECTIONS: usize = 32;
/// Three pieces of the guest's and a half.
const PATH: &str = "/?bytes=350";
const LETTERS: [&str; 2] = ["a", "b"];

/// Where the run stands.
#[derive(Default)]
struct State {
    /// Requests that may be sent.
    open: usize,
    taken: usize,
    answered: usize,
    /// Swaps that have been asked for.
    begun: usize,
    /// Swaps whose outcome is known.
    over: usize,
    /// Answers that came while a swap was under way.
    meanwhile: usize,
    failed: bool,
}

#[derive(Default)]
struct Rounds {
    state: Mutex<State>,
    changed: Condvar,
}

/// Ends the run when a client fails.
struct Alarm<'a>(&'a Rounds);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.change(|state| state.failed = true);
        }
    }
}

impl Rounds {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while it holds the state")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits until `ready`, the run has failed (then it gives nothing), or for too long.
    fn wait(&self, ready: impl Fn(&State) -> bool) -> Option<MutexGuard<'_, State>> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.state();
        while !ready(&state) && !state.failed {
            let left = until.saturating_duration_since(Instant::now());
            let timed_out = left.is_zero();
            if timed_out {
                drop(state);
                panic!("the run has stalled");
            }
            (state, _) = self.changed.wait_timeout(state, left).expect("as in `state`");
        }
        (!state.failed).then_some(state)
    }

    /// The right to one request, and the swaps whose outcome is known before it is sent. Nothing
    /// when all have been sent.
    fn ticket(&self) -> Option<usize> {
        let mut state = self.wait(|state| state.taken < state.open || state.taken == REQUESTS)?;
        if state.taken == REQUESTS {
            return None;
        }
        state.taken += 1;
        Some(state.over)
    }

    /// The request was answered by `letter`: it must be of a version that served while the request
    /// was in flight.
    fn judge(&self, known: usize, letter: &str) {
        let (begun, over) = {
            let state = self.state();
            (state.begun, state.over)
        };
        let mut may: RangeInclusive<usize> = known..=begun;
        assert!(
            may.any(|swaps| LETTERS[swaps % 2] == letter),
            "version {letter} answered a request that was sent after swap {known}, before {begun}"
        );
        self.change(|state| {
            state.answered += 1;
            state.meanwhile += usize::from(over < begun);
        });
    }

    /// Asks for all swaps, each in the middle of a round.
    fn swap(&self, host: &Host, app: &App, files: &[Vec<u8>]) {
        let _alarm = Alarm(self);
        self.change(|state| state.open = EACH_ROUND);
        for number in 1..=SWAPS {
            let enough = number * EACH_ROUND - EACH_ROUND / 2;
            let Some(state) = self.wait(|state| state.answered >= enough) else { return };
            drop(state);
            self.change(|state| state.begun = number);
            app.put_bytes(&files[number % files.len()]);
            expect_swapped(&reload(host));
            self.change(|state| {
                state.over = number;
                state.open += EACH_ROUND;
            });
        }
    }

    /// A client of HTTP/1 with one connection, which it gives back.
    fn http1(&self, host: &Host) -> Conn {
        let _alarm = Alarm(self);
        let mut conn = host.connect();
        while let Some(known) = self.ticket() {
            let answer = conn.get(PATH).expect("no request fails");
            assert!(!answer.head.says_close(), "nobody is told to leave: {answer}");
            assert_eq!(answer.body.bytes.len(), 350);
            self.judge(known, &version(&answer));
        }
        conn
    }

    /// A client of HTTP/2 with one connection and one stream at a time.
    fn http2(&self, host: &Host) -> Conn {
        let _alarm = Alarm(self);
        let mut h2 = H2::connect(host.addr());
        let mut streams = (1..).step_by(2);
        while let Some(known) = self.ticket() {
            let stream = streams.next().expect("endless");
            h2.get(stream, PATH);
            let answer = h2.expect_answer(stream);
            assert_eq!(answer.body.len(), 350);
            self.judge(known, &version_h2(&answer));
        }
        h2.conn
    }
}

/// Swaps between the two `guests`, of which the first is version a and the second version b, on a
/// host with `args`.
#[track_caller]
fn lose_nothing(guests: [&str; 2], args: &[&str]) {
    // Two files of each version: the one before is kept for a rollback, and would not be loaded.
    let files: Vec<_> =
        (0..2).flat_map(|number| guests.map(|guest| variant(guest, number))).collect();
    let app = App::of(guests[0]);
    let host = app.serve().args(args.iter().copied()).start();
    let rounds = Rounds::default();
    let conns: Vec<Conn> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .flat_map(|_| {
                [scope.spawn(|| rounds.http1(&host)), scope.spawn(|| rounds.http2(&host))]
            })
            .collect();
        rounds.swap(&host, &app, &files);
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
