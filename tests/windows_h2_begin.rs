//! HTTP/2 connections that have hardly begun when the stop comes.

use crate::support::h2frame::{PREFACE, bytes};
use crate::support::h2raw::fields;
use crate::support::hpack;
use crate::support::prelude::*;
use crate::support::stop::{StopSummary, connections, expect_clean_exit, stop, wait_accepted};
use crate::windows_h2::{NO_WAIT, h2_connections};

/// The preface can be cut anywhere; what is there is no request, so nothing is lost. (Its first letters
/// may begin a request of HTTP/1, whose peer is told: see windows_h1.rs.)
#[test]
fn half_a_preface_is_bounded_by_the_time_for_a_head() {
    for length in ["PRI ".len(), PREFACE.len() - 1] {
        let host =
            Host::serve("hello_p2").everywhere().args(["--request-head-timeout", "400ms"]).start();
        let mut conns = both_send(&host, &PREFACE[..length]);
        host.signal(Signal::TERM);
        for conn in &mut conns {
            conn.expect_reset_or_eof();
        }
        let took = expect_clean_exit(host).took;
        assert!(took < 2.0, "{length} bytes: {took} s");
    }
}

/// The same bound by the other clock.
#[test]
fn half_a_preface_is_bounded_by_the_drain_timeout() {
    for length in [1, PREFACE.len() - 1] {
        let host = Host::serve("hello_p2").everywhere().args(["--drain-timeout", "400ms"]).start();
        let mut conns = both_send(&host, &PREFACE[..length]);
        host.signal(Signal::TERM);
        for conn in &mut conns {
            conn.expect_reset_or_eof();
        }
        let took = StopSummary::read(&host.wait_exit()).took;
        assert!((0.4..2.0).contains(&took), "{length} bytes: {took} s");
    }
}

/// A preface that goes on is a connection like any other, and its first stream is served.
#[test]
fn preface_that_goes_on_after_the_stop_began_is_served() {
    for length in [1, 10, PREFACE.len()] {
        let host = Host::serve("hello_p2").everywhere().args(["--linger", "0s"]).start();
        let mut conns = both_send(&host, &PREFACE[..length]);
        wait_accepted(&host);
        stop(&host);
        for conn in &mut conns {
            conn.send(&PREFACE[length..]).unwrap();
            conn.send(bytes(4, 0, 0, &[])).unwrap();
            conn.send(bytes(1, 0x5, 1, &hpack::encode(&fields("GET", "/")))).unwrap();
        }
        for mut conn in conns {
            let mut body = Vec::new();
            loop {
                match Frame::read(&mut conn) {
                    Ok(Frame::Data { stream: 1, bytes, .. }) => body.extend(bytes),
                    Ok(_) => {}
                    Err(Broken::Fin(_)) => break,
                    Err(e) => panic!("a clean FIN was due: {e}"),
                }
            }
            assert_eq!(body, b"hello world\n", "after {length} bytes");
        }
        expect_clean_exit(host);
    }
}

/// A whole preface, and then not even the SETTINGS that must follow.
#[test]
fn whole_preface_without_settings_does_not_hold_the_stop() {
    let host = Host::serve("hello_p2").everywhere().args(NO_WAIT).start();
    let mut conns = both_send(&host, PREFACE);
    host.signal(Signal::TERM);
    for conn in &mut conns {
        conn.expect_reset_or_eof();
    }
    drop(conns);
    expect_clean_exit(host);
}

/// A connection that has opened no stream has nothing to lose.
#[test]
fn connection_without_any_stream_leaves_without_a_wait() {
    let host = Host::serve("hello_p2").everywhere().args(NO_WAIT).start();
    let mut both = h2_connections(&host);
    for h2 in &mut both {
        h2.wait("SETTINGS", |frame| matches!(frame, Frame::Settings { .. }).then_some(()));
    }
    host.signal(Signal::TERM);
    for h2 in &mut both {
        assert_eq!(h2.expect_goaway(), (ANY_STREAM, NO_ERROR));
        h2.expect_fin();
    }
    drop(both);
    expect_clean_exit(host);
}

/// Connects to each address and sends `bytes`.
#[track_caller]
fn both_send(host: &Host, bytes: &[u8]) -> Vec<Conn> {
    let mut conns = connections(host);
    for conn in &mut conns {
        conn.send(bytes).unwrap();
    }
    conns
}
