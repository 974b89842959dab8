//! Stops over TLS, where it differs from a plain connection: handshakes that are under way, and records of which a part has
//! come. (The windows and the losses of stops are over TLS too, in their own files.)

use std::iter;

use socket2::Socket;

use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;
use crate::support::status::wait_json;
use crate::support::stop::{
    GET, Held, expect_clean_exit, expect_last, expect_served, freeze, stop, thaw_with,
};
use crate::support::tls_client::ClientSession;

fn socket(host: &Host) -> Socket {
    Target::Tls(host.tls_addr()).connect(PATIENCE).expect("the host listens")
}

/// A connection of which only the hello has been sent.
fn hello(host: &Host) -> Conn {
    Conn::over(socket(host)).hello().expect("room for a hello")
}

fn secure(host: &Host) -> Conn {
    Conn::connect(Target::Tls(host.tls_addr())).expect("the host listens")
}

/// W2: the hello lies in the accept queue when the stop comes.
#[test]
fn hellos_in_the_accept_queue_are_served_when_the_stop_comes() {
    let host = Host::serve("hello_p2").tls().start();
    freeze(&host);
    let queue: Vec<Conn> = (0..64).map(|_| hello(&host)).collect();
    thaw_with(&host, Signal::TERM);
    for conn in queue {
        let mut conn = conn.shake_hands().expect("a handshake");
        conn.send(GET).unwrap();
        expect_served(&mut conn);
        conn.expect_fin();
    }
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// The last flight of the handshake and a request behind it come after the stop has begun, in one piece.
#[test]
fn request_in_the_last_flight_of_a_handshake_is_served_after_the_stop_has_begun() {
    for split in [None, Some(1), Some(70), Some(110)] {
        let host = Host::serve("hello_p2").tls().args(["--linger", "300ms"]).start();
        let (mut raw, tls) = (Conn::over(socket(&host)), ClientSession::new());
        raw.send(tls.outgoing()).unwrap();
        while tls.is_handshaking() {
            let some = raw.read_some().expect("the host's flight");
            tls.receive(&some).expect("a handshake");
        }
        let flight = [tls.outgoing(), tls.seal(GET.as_bytes())].concat();
        stop(&host);
        let (first, rest) = flight.split_at(split.unwrap_or(flight.len()));
        raw.send(first).unwrap();
        raw.send(rest).unwrap();
        let mut conn = raw.speaking(tls);
        expect_last(&mut conn);
        assert_eq!(expect_clean_exit(host).finished, 1);
    }
}

/// A half record was taken for an idle connection, which the linger closes.
#[test]
fn request_of_which_half_a_record_has_come_before_the_stop_is_served() {
    for guest in ["hello_p2", "hello_p3"] {
        let host = Host::serve(guest).tls().args(["--linger", "0s"]).start();
        let mut conn = secure(&host);
        assert_eq!(conn.get("/").unwrap().status(), 200);
        let (mut raw, tls) = conn.apart();
        let record = tls.seal(GET.as_bytes());
        let (half, rest) = record.split_at(record.len() / 2);
        raw.send(half).unwrap();
        // Another connection shows that the host has had the time to read it.
        assert_eq!(secure(&host).get("/").unwrap().status(), 200);
        stop(&host);
        raw.send(rest).unwrap();
        let mut conn = raw.speaking(tls);
        expect_last(&mut conn);
        assert_eq!(expect_clean_exit(host).finished, 1);
    }
}

/// Silent ones have the linger, those that have begun the time of a handshake; whoever is served notices nothing.
#[test]
fn three_hundred_half_open_handshakes_do_not_hold_a_stop() {
    let host = Host::serve("gate_p2")
        .tls()
        .args(["--handshake-timeout", "2s", "--linger", "300ms"])
        .start();
    let begun = |bytes: &'static [u8]| {
        let mut conn = Conn::over(socket(&host));
        conn.send(bytes).unwrap();
        conn
    };
    let crowd: Vec<Conn> = iter::repeat_with(|| [begun(b""), begun(b"\x16\x03\x01"), hello(&host)])
        .take(100)
        .flatten()
        .collect();
    let held = Held::over(secure(&host));
    stop(&host);
    drop(held.open());
    assert_eq!(expect_clean_exit(host).finished, 1);
    drop(crowd);
}

/// A 400 in plain text, as it would say itself.
#[test]
fn plain_http_on_a_port_of_tls_is_told_to_use_https() {
    let host = Host::serve("hello_p2").tls().start();
    let mut conn = Conn::over(socket(&host));
    let answer = conn.get("/").unwrap();
    assert_eq!((answer.status(), &*answer.text()), (400, "this port speaks TLS; use https://\n"));
    assert!(answer.head.says_close());
    conn.expect_fin();
}

#[test]
fn tls_on_a_port_of_plain_http_is_answered_400() {
    let host = Host::serve("hello_p2").env("HOST_LOG", "debug").start();
    let mut conn = host.connect();
    conn.send(ClientSession::new().outgoing()).unwrap();
    assert_eq!(conn.read_response("GET").unwrap().status(), 400);
    host.wait_log("a hello of TLS on a port of plain HTTP");
}

#[test]
fn connections_over_tls_are_listed_with_its_version_and_half_open_ones_as_such() {
    let host = Host::serve("hello_p2").tls().control().start();
    let mut idle = secure(&host);
    assert_eq!(idle.get("/").unwrap().status(), 200);
    let _half_open = hello(&host);
    wait_json(&host, "connections", "one idle, one in a handshake", |all| {
        let all = all["connections"].as_array().expect("a list");
        let is = |state: &str, tls: Option<&str>| {
            all.iter().any(|one| one["state"] == state && one["tls"].as_str() == tls)
        };
        is("idle", Some("TLSv1.3")) && is("handshake", None)
    });
    let exit = host.ctl(["connections"]);
    assert!(exit.stdout.contains("http/1 TLSv1.3"), "{}", exit.stdout);
}

#[test]
fn handshakes_are_counted_by_what_they_came_to() {
    let host = Host::serve("hello_p2").tls().args(metrics::ARGS).start();
    drop((secure(&host), secure(&host)));
    let mut plain = Conn::over(socket(&host));
    assert_eq!(plain.get("/").unwrap().status(), 400);
    let mut garbage = Conn::over(socket(&host));
    garbage.send([22, 3, 1, 0, 4, 9, 0, 0, 0]).unwrap();
    let (alert, _) = garbage.expect_reset_or_eof();
    assert_eq!(alert.first(), Some(&21));
    drop(hello(&host));
    let came_to =
        |told: &Metrics, outcome| told.sum("host_tls_handshakes_total", &[("outcome", outcome)]);
    let told = Metrics::wait(&host, |told| told.sum("host_tls_handshakes_total", &[]) == 5.0);
    for (outcome, count) in [("done", 2.0), ("not-tls", 1.0), ("malformed", 1.0), ("gone", 1.0)] {
        assert_eq!(came_to(&told, outcome), count, "{outcome}");
    }
}
