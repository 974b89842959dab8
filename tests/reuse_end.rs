//! How a reusable instance ends: with a stop, with its generation, and with its last words.

use crate::reuse::{Count, REUSE, SHARE, Slow};
use crate::support::app::{App, swap_to, version};
use crate::support::load::Load;
use crate::support::prelude::*;
use crate::support::wire;

/// It would hold memory that no request can reach any more.
#[test]
fn idle_instances_of_a_retired_generation_end_at_once() {
    for guest in ["counter_p2", "counter_p3"] {
        let app = App::new(guest);
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
            assert_eq!(Count::read(&slow.end()).instance.len(), 16);
        }
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line("s: 5 exchanges finished, 0 cut, 0 conn");
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
        assert_eq!(Count::read(&slow.end()).requests, 1);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line("s: 1 exchange finished, 0 cut, 0 conn");
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
            let load = Load::new(host.addr(), "/?ms=5");
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
        let app = App::new(guest);
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

/// A guest of 0.3 with work after its answer is in flight until that is done.
#[test]
fn work_after_the_answer_is_waited_for_on_a_reusable_instance() {
    for guest in ["after_p2", "after_p3"] {
        let app = App::new(guest);
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
