//! `--reuse`: instances that serve more than one request, and what does not cross from one to
//! another all the same.
//!
//! A client has its answer a moment before the instance is free again. Where a test needs to know
//! which instance is next, it allows only one at a time: then the next request waits for that.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::app::{App, expect_swapped, reload, swap_to, variant, version};
use crate::support::load::Load;
use crate::support::prelude::*;
use crate::support::wire;

/// Instances of `counter` serve up to a hundred requests.
const REUSE: [&str; 2] = ["--reuse", "100"];
/// And those of 0.3 eight at once.
const SHARE: [&str; 4] = ["--reuse", "100", "--reuse-concurrency", "8"];
/// One exchange at a time, and the next waits for it.
const ONE: [&str; 4] = ["--max-instances", "1", "--queue-timeout", "30s"];

/// An answer of `counter`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Count {
    instance: String,
    requests: u64,
}

impl Count {
    #[track_caller]
    fn of(answer: &Response) -> Self {
        assert_eq!(answer.status(), 200, "{answer}");
        let text = answer.text();
        let fields = text.trim_end().strip_prefix("instance=").and_then(|rest| {
            let (instance, requests) = rest.split_once(" requests=")?;
            Some(Self { instance: instance.to_owned(), requests: requests.parse().ok()? })
        });
        fields.unwrap_or_else(|| panic!("not an answer of counter: {text:?}"))
    }

    #[track_caller]
    fn next(host: &Host) -> Self {
        Self::of(&host.get("/"))
    }
}

/// A request to `/slow` that its instance is reading: the instance asks for the body.
struct Slow(Conn);

impl Slow {
    #[track_caller]
    fn on(host: &Host) -> Self {
        let mut conn = host.connect();
        let head = wire::chunked("/slow").replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        conn.send(head).unwrap();
        assert_eq!(conn.read_head().expect("the guest reads the body").status, 100);
        Self(conn)
    }

    #[track_caller]
    fn end(mut self) -> Response {
        self.0.send(wire::LAST_CHUNK).expect("the host reads");
        self.0.read_response("POST").expect("a whole answer")
    }

    #[track_caller]
    fn expect_failed(mut self) {
        assert_eq!(self.0.read_response("POST").expect("a whole answer").status(), 500);
    }
}

#[test]
fn instance_serves_as_many_requests_as_it_may_and_then_there_is_a_new_one() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest).args(["--reuse", "3"]).args(ONE).start();
        let counts: Vec<Count> = (0..9).map(|_| Count::next(&host)).collect();
        let requests: Vec<u64> = counts.iter().map(|count| count.requests).collect();
        assert_eq!(requests, [1, 2, 3, 1, 2, 3, 1, 2, 3], "{guest}");
        for three in counts.chunks(3) {
            assert!(three.iter().all(|count| count.instance == three[0].instance), "{counts:?}");
        }
        let all: BTreeSet<&str> = counts.iter().map(|count| count.instance.as_str()).collect();
        assert_eq!(all.len(), 3, "{counts:?}");
    }
}

#[test]
fn trap_fails_its_own_request_and_the_next_has_a_new_instance() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest).args(REUSE).args(ONE).start();
        let first = Count::next(&host);
        assert_eq!(Count::next(&host), Count { requests: 2, ..first.clone() });
        let mut conn = host.connect();
        assert_eq!(conn.get("/trap").unwrap().status(), 500);
        let next = Count::of(&conn.get("/").unwrap());
        assert_eq!(next.requests, 1, "{guest}");
        assert_ne!(next.instance, first.instance, "{guest}");
    }
}

/// A 0.2 instance runs one call at a time, whatever is asked for.
#[test]
fn requests_at_once_have_instances_of_their_own() {
    for (guest, args) in [("counter_p2", &SHARE[..]), ("counter_p3", &REUSE)] {
        let host = Host::serve(guest).args(args.iter().copied()).start();
        let held: Vec<Slow> = (0..4).map(|_| Slow::on(&host)).collect();
        let counts: Vec<Count> = held.into_iter().map(|slow| Count::of(&slow.end())).collect();
        let all: BTreeSet<&str> = counts.iter().map(|count| count.instance.as_str()).collect();
        assert_eq!(all.len(), 4, "{counts:?}");
    }
}

#[test]
fn requests_at_once_share_an_instance_of_p3_up_to_its_concurrency() {
    let host = Host::serve("counter_p3").args(SHARE).start();
    let held: Vec<Slow> = (0..20).map(|_| Slow::on(&host)).collect();
    let mut instances: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for slow in held {
        let Count { instance, requests } = Count::of(&slow.end());
        instances.entry(instance).or_default().push(requests);
    }
    let mut sizes: Vec<usize> = instances.values().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [4, 8, 8], "{instances:?}");
    for requests in instances.values() {
        assert!(requests.iter().copied().eq(1..=requests.len() as u64), "{instances:?}");
    }
}

#[test]
fn trap_fails_those_that_share_its_instance_and_no_other() {
    let args = ["--reuse", "100", "--reuse-concurrency", "3"];
    let host = Host::serve("counter_p3").args(args).start();
    let elsewhere: Vec<Slow> = (0..3).map(|_| Slow::on(&host)).collect();
    let here: Vec<Slow> = (0..2).map(|_| Slow::on(&host)).collect();
    // On the one that has room.
    assert_eq!(host.get("/trap").status(), 500);
    here.into_iter().for_each(Slow::expect_failed);
    let counts: Vec<Count> = elsewhere.into_iter().map(|slow| Count::of(&slow.end())).collect();
    let requests: Vec<u64> = counts.iter().map(|count| count.requests).collect();
    assert_eq!(requests, [1, 2, 3]);
    assert!(counts.iter().all(|count| count.instance == counts[0].instance), "{counts:?}");
    assert_eq!(host.get("/").status(), 200);
}

#[test]
fn connection_goes_on_after_its_instance_was_lost() {
    let host = Host::serve("counter_p3").args(SHARE).start();
    let mut slow = Slow::on(&host);
    let mut conn = host.connect();
    assert_eq!(conn.get("/trap").unwrap().status(), 500);
    assert_eq!(Count::of(&conn.get("/").unwrap()).requests, 1);
    let answer = slow.0.read_response("POST").unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (500, "internal error\n"));
}

#[test]
fn instance_that_was_idle_for_too_long_ends_and_the_next_request_has_a_new_one() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest)
            .args(REUSE)
            .args(ONE)
            .args(["--reuse-idle", "100ms"])
            .env("HOST_LOG", "host=debug")
            .start();
        let first = Count::next(&host);
        host.wait_log(says::INSTANCE_ENDED);
        let next = Count::next(&host);
        assert_eq!(next.requests, 1, "{guest}");
        assert_ne!(next.instance, first.instance, "{guest}");
    }
}

/// While it serves it is not idle, however long that takes.
#[test]
fn instance_that_serves_does_not_end_for_being_idle() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest)
            .args(REUSE)
            .args(["--reuse-idle", "50ms"])
            .env("HOST_LOG", "host=debug")
            .start();
        let held = Slow::on(&host);
        let other = Count::next(&host);
        // The other one has been idle for long enough.
        if guest == "counter_p2" {
            host.wait_log(says::INSTANCE_ENDED);
        }
        let count = Count::of(&held.end());
        assert_eq!(count.requests, 1, "{other:?}");
    }
}

#[test]
fn state_does_not_cross_from_one_generation_to_the_next() {
    for guest in ["counter_p2", "counter_p3"] {
        let app = App::of(guest);
        let host = app.serve().args(SHARE).start();
        let held = Slow::on(&host);
        app.put_bytes(&variant(guest, 1));
        expect_swapped(&reload(&host));
        let new = Count::next(&host);
        assert_eq!(new.requests, 1, "{guest}");
        let old = Count::of(&held.end());
        assert_eq!(old.requests, 1, "it ends where it began");
        assert_ne!(new.instance, old.instance, "{guest}");
        host.wait_log(says::RETIRED_GONE);
        // Back to the same code: made anew all the same.
        app.put(guest);
        expect_swapped(&reload(&host));
        let again = Count::next(&host);
        assert!(again.requests == 1 && again.instance != old.instance, "{again:?} after {old:?}");
    }
}

/// It would hold memory that nobody can reach any more.
#[test]
fn idle_instances_of_a_retired_generation_end_at_once() {
    for guest in ["counter_p2", "counter_p3"] {
        let app = App::of(guest);
        let host = app
            .serve()
            .args(SHARE)
            .args(["--reuse-idle", "1h"])
            .env("HOST_LOG", "host=debug")
            .start();
        Count::next(&host);
        swap_to(&host, &app, "version_b_p2");
        host.wait_log(says::INSTANCE_ENDED);
        host.wait_log(says::RETIRED_GONE);
        assert_eq!(version(&host.get("/")), "b");
    }
}

#[test]
fn stop_with_idle_instances_ends_at_once_and_each_has_its_last_words() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let args = ["--reuse-idle", "1h", "--drain-timeout", "1h"];
        let host = Host::serve(guest).args(REUSE).args(args).start();
        // Several at once, so that there may be several instances.
        let mut conns: Vec<Conn> = (0..8).map(|_| host.connect()).collect();
        for conn in &mut conns {
            conn.send(wire::get("/")).unwrap();
        }
        for conn in &mut conns {
            assert_eq!(conn.read_response("GET").unwrap().status(), 200);
        }
        drop(conns);
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        let count = |text: &str| exit.stderr.matches(text).count();
        // The trial at the load has neither been idle nor told.
        let lives = count(says::ON_START);
        assert!(lives > 1, "{}", exit.stderr);
        assert_eq!(count(says::ON_SHUTDOWN), lives, "{}", exit.stderr);
        assert_eq!(count(says::ON_DRAIN), lives - 1, "{}", exit.stderr);
    }
}

/// Told while it serves, the instance ends with its exchange.
#[test]
fn stop_waits_for_the_exchanges_of_shared_instances() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest).args(SHARE).start();
        let held: Vec<Slow> = (0..5).map(|_| Slow::on(&host)).collect();
        host.signal(Signal::TERM);
        host.wait_log(says::DRAINING);
        for slow in held {
            assert_eq!(Count::of(&slow.end()).instance.len(), 16);
        }
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(" s: 5 exchanges finished, 0 cut, 0 conn");
    }
}

/// An instance with room for more is not kept for those who may come: a stop that waited for it
/// would run into its timeout, and say so.
#[test]
fn instance_that_served_while_the_stop_began_ends_with_its_exchange() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest).args(SHARE).args(["--reuse-idle", "1h"]).start();
        let slow = Slow::on(&host);
        host.signal(Signal::TERM);
        host.wait_log(says::DRAINING);
        assert_eq!(Count::of(&slow.end()).requests, 1);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(" s: 1 exchanges finished, 0 cut, 0 conn");
        assert!(!exit.stderr.contains("cutting what is left"), "{}", exit.stderr);
    }
}

/// Its last words are part of the exchange that was its last, so they hold its place.
#[test]
fn last_words_of_used_up_instances_never_take_the_place_of_another() {
    for guest in ["shutdown_spin_p2", "shutdown_spin_p3"] {
        let host = Host::serve(guest)
            .args(["--reuse", "2", "--max-instances", "2", "--queue-timeout", "30s"])
            .args(["--hook-timeout", "100ms"])
            .start();
        for _ in 0..30 {
            assert_eq!(host.get("/").status(), 200, "{guest}");
        }
    }
}

/// A smoke request leaves nothing for the first client.
#[test]
fn smoke_request_has_an_instance_that_serves_nobody_else() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest).args(REUSE).args(["--smoke", "GET / 200"]).start();
        assert_eq!(Count::next(&host).requests, 1, "{guest}");
    }
}

/// The claim of `loss.rs`, for instances that are reused.
#[test]
fn strict_clients_lose_nothing_over_stops_with_reuse() {
    for (guest, mode) in [
        ("sleep_p2", Mode::H1Kept),
        ("sleep_p2", Mode::H2Kept),
        ("sleep_p3", Mode::H1Kept),
        ("sleep_p3", Mode::H2Kept),
    ] {
        for _ in 0..3 {
            let args = ["--reuse", "7", "--reuse-concurrency", "3", "--drain-timeout", "10s"];
            let host = Host::serve(guest).args(args).start();
            let load = Load::of(host.addr(), "/?ms=5");
            let (ledger, exit) = load.drive(mode, 64, move || {
                host.signal(Signal::TERM);
                host.wait_exit()
            });
            ledger.assert_nothing_lost();
            exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        }
    }
}

/// A guest that is cut with its generation is told like any other.
#[test]
fn reusable_instance_of_a_retired_generation_is_cut_when_its_time_is_up() {
    for guest in ["counter_p2", "counter_p3"] {
        let app = App::of(guest);
        let host = app.serve().args(SHARE).args(["--retire-timeout", "300ms"]).start();
        let mut held = [Slow::on(&host), Slow::on(&host)];
        swap_to(&host, &app, "version_b_p2");
        for slow in &mut held {
            let answer = slow.0.read_response("POST").unwrap();
            assert_eq!((answer.status(), answer.text().as_str()), (503, "replaced; try again\n"));
        }
        host.wait_log(says::RETIRED_GONE);
        assert_eq!(version(&host.get("/")), "b");
    }
}

#[test]
fn slow_reader_of_a_shared_instance_holds_up_nobody_else() {
    for (guest, args) in [("version_a_p2", &REUSE[..]), ("version_a_p3", &SHARE)] {
        let host = Host::serve(guest).args(args.iter().copied()).start();
        let mut slow = H2::connect_with_window(host.addr(), 100);
        slow.get(1, "/?bytes=500000");
        assert_eq!(slow.expect_status(1), 200);
        for _ in 0..20 {
            assert_eq!(version(&host.get("/")), "a");
        }
        slow.send_window_update(1, 1 << 20);
        let mut length = 0;
        loop {
            let (bytes, last) = slow.expect_data(1);
            length += bytes.len();
            if last {
                break;
            }
        }
        assert_eq!(length, 500_000, "{guest}");
    }
}

#[test]
fn client_that_leaves_breaks_its_own_instance_and_no_other() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest).args(REUSE).env("HOST_LOG", "host=debug").start();
        let leaves = Slow::on(&host);
        let stays = Slow::on(&host);
        leaves.0.reset();
        host.wait_log(says::INSTANCE_ENDED);
        let count = Count::of(&stays.end());
        assert_eq!(count.requests, 1, "{guest}");
        assert_eq!(host.log().matches(says::INSTANCE_ENDED).count(), 1, "{guest}");
        assert_eq!(host.get("/").status(), 200);
    }
}

#[test]
fn client_that_leaves_a_shared_instance_fails_nobody_else_and_the_instance_takes_no_more() {
    let host = Host::serve("counter_p3").args(SHARE).env("HOST_LOG", "host=debug").start();
    let leaves = Slow::on(&host);
    let stays = Slow::on(&host);
    leaves.0.reset();
    let count = Count::of(&stays.end());
    assert_eq!(count.requests, 2, "they shared it");
    host.wait_log(says::INSTANCE_ENDED);
    let next = Count::next(&host);
    assert!(next.requests == 1 && next.instance != count.instance, "{next:?} after {count:?}");
}

/// A guest of 0.3 with work after its answer is in flight until that is done.
#[test]
fn work_after_the_answer_is_waited_for_on_a_reusable_instance() {
    for guest in ["after_p2", "after_p3"] {
        let app = App::of(guest);
        for stops in [true, false] {
            let host = app.serve().args(REUSE).start();
            assert_eq!(host.get("/?ms=1500").text(), "answered\n");
            if stops {
                host.signal(Signal::TERM);
                let exit = host.wait_exit();
                exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
                assert!(exit.stderr.contains(says::AFTER_DONE), "{guest}: {}", exit.stderr);
            } else {
                swap_to(&host, &app, "version_b_p2");
                host.wait_log(says::RETIRED_GONE);
                assert!(host.log().contains(says::AFTER_DONE), "{guest}: {}", host.log());
            }
        }
    }
}

/// What a guest never ends is cut with its instance, as with a fresh one.
#[test]
fn reusable_instance_that_spins_is_cut_by_a_stop() {
    for guest in ["busy_p2", "busy_p3"] {
        let host = Host::serve(guest).args(REUSE).args(["--drain-timeout", "1s"]).start();
        let mut conn = host.connect();
        conn.send(wire::get("/")).unwrap();
        host.wait_log(says::SPINNING);
        host.signal(Signal::TERM);
        assert_eq!(conn.read_response("GET").unwrap().status(), 503, "{guest}");
        drop(conn);
        host.wait_exit().expect_code(1);
    }
}

#[test]
fn reusable_instance_has_its_cpu_time_for_each_request() {
    for guest in ["busy_p2", "busy_p3"] {
        let args = ["--cpu-time", "700ms"];
        let host = Host::serve(guest).args(REUSE).args(ONE).args(args).start();
        for _ in 0..4 {
            assert_eq!(host.get("/?ms=300").text(), "spun\n", "{guest}");
        }
        assert_eq!(host.get("/").status(), 504, "{guest}");
        assert_eq!(host.get("/?ms=300").text(), "spun\n", "{guest}: on a new instance");
    }
}

#[test]
fn reuse_that_makes_no_sense_is_wrong_usage() {
    let app = guest("counter_p3");
    let app = app.to_str().unwrap();
    for args in [
        &["--reuse", "0"][..],
        &["--reuse-concurrency", "0"],
        &["--reuse-concurrency", "8"],
        &["--reuse", "1", "--reuse-concurrency", "8"],
        &["--reuse", "many"],
        &["--compile-timeout", "0s"],
        &["--grant", "everything"],
        &["--smoke", "GET"],
        &["--smoke", "GET / 2000"],
        &["--max-retired", "few"],
    ] {
        let exit = Host::run([&["serve", app][..], args].concat());
        exit.expect_code(2);
        assert!(exit.stderr.contains(args[0]), "{args:?}: {}", exit.stderr);
    }
}
