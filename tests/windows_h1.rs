//! HTTP/1: a connection at each moment of its life, and a stop in that moment.

use crate::support::prelude::*;
use crate::support::stop::{
    GET, Held, OPEN, POST_HEAD, connections, expect_clean_exit, expect_last, expect_served, stop,
    wait_accepted,
};

/// No time for an idle connection, so whatever is held open is held for its own sake.
pub const NO_LINGER: [&str; 2] = ["--linger", "0s"];

/// Returns when the drain has closed the idle connections of `host`: this one is its witness.
#[track_caller]
fn stop_and_see_idle_closed(host: &Host) {
    let mut witnesses = connections(host);
    for witness in &mut witnesses {
        assert_eq!(witness.get("/").unwrap().status(), 200);
    }
    host.signal(Signal::TERM);
    for witness in &mut witnesses {
        witness.expect_fin();
    }
}

/// W5. Nothing of it has come yet, but it was let in, so it may speak.
#[test]
fn fresh_connection_that_speaks_only_after_the_stop_began_is_served() {
    for guest in ["hello_p2", "hello_p3"] {
        let host = Host::serve(guest).everywhere().args(["--linger", "10s"]).start();
        let mut fresh = connections(&host);
        wait_accepted(&host);
        stop(&host);
        for conn in &mut fresh {
            conn.send(GET).unwrap();
            expect_last(conn);
        }
        drop(fresh);
        expect_clean_exit(host);
    }
}

/// W5, its other end: silence is not waited for beyond the linger.
#[test]
fn fresh_connection_that_stays_silent_is_closed_with_fin_after_the_linger() {
    let host = Host::serve("hello_p2").everywhere().args(["--linger", "300ms"]).start();
    let mut fresh = connections(&host);
    wait_accepted(&host);
    host.signal(Signal::TERM);
    for conn in &mut fresh {
        conn.expect_fin();
    }
    drop(fresh);
    let took = expect_clean_exit(host).took;
    assert!((0.3..2.0).contains(&took), "{took} s");
}

/// W7. The first head of a connection.
#[test]
fn half_a_first_head_is_not_idle_and_is_served_when_its_rest_comes() {
    for guest in ["hello_p2", "hello_p3"] {
        let host = Host::serve(guest).everywhere().args(NO_LINGER).start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            conn.send("GET / HTTP/1.1\r\nHo").unwrap();
        }
        wait_accepted(&host);
        stop_and_see_idle_closed(&host);
        for conn in &mut conns {
            assert!(conn.is_quiet());
            conn.send("st: t\r\n\r\n").unwrap();
            expect_last(conn);
        }
        drop(conns);
        expect_clean_exit(host);
    }
}

/// W7. `P` begins POST as well as the preface of HTTP/2; such a connection was closed without a word.
#[test]
fn first_letters_of_a_head_that_never_goes_on_are_answered_408() {
    for letters in ["P", "PRI"] {
        let args = ["--request-head-timeout", "300ms"];
        let host = Host::serve("hello_p2").everywhere().args(args).start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            conn.send(letters).unwrap();
        }
        for conn in &mut conns {
            assert_eq!(conn.read_response("GET").unwrap().status(), 408);
            conn.expect_fin();
        }
    }
}

/// W7. A single byte is a beginning too.
#[test]
fn first_byte_of_a_second_head_is_not_idle_and_is_served_when_its_rest_comes() {
    for guest in ["hello_p2", "hello_p3"] {
        let host = Host::serve(guest).everywhere().args(NO_LINGER).start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            assert_eq!(conn.get("/").unwrap().status(), 200);
            conn.send("G").unwrap();
        }
        stop_and_see_idle_closed(&host);
        for conn in &mut conns {
            assert!(conn.is_quiet());
            conn.send(GET.strip_prefix('G').unwrap()).unwrap();
            expect_last(conn);
        }
        drop(conns);
        expect_clean_exit(host);
    }
}

/// W7. The parser has read the half head together with the end of the body before it.
#[test]
fn half_a_head_behind_a_body_in_the_same_segment_is_served_when_its_rest_comes() {
    let chunked = "POST /count HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\n\r\nGET / HT";
    let sized = "POST /count HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabcGET / HT";
    for guest in ["reader_p2", "reader_p3"] {
        for request in [chunked, sized] {
            let host = Host::serve(guest).everywhere().args(NO_LINGER).start();
            let mut conns = connections(&host);
            for conn in &mut conns {
                conn.send(request).unwrap();
                let first = expect_served(conn);
                assert_eq!(first.text(), "3 bytes\n");
                assert!(!first.head.says_close());
            }
            stop_and_see_idle_closed(&host);
            for conn in &mut conns {
                assert!(conn.is_quiet());
                conn.send("TP/1.1\r\nHost: t\r\n\r\n").unwrap();
                assert_eq!(expect_last(conn).text(), "ignored\n");
            }
            drop(conns);
            expect_clean_exit(host);
        }
    }
}

/// W8. The request and the stop cross on the wire.
#[test]
fn request_on_an_idle_connection_after_the_stop_began_is_served_and_told_to_close() {
    for guest in ["hello_p2", "hello_p3"] {
        let host = Host::serve(guest).everywhere().args(["--linger", "10s"]).start();
        let mut kept = connections(&host);
        for conn in &mut kept {
            assert!(!conn.get("/").unwrap().head.says_close());
        }
        stop(&host);
        for conn in &mut kept {
            assert!(conn.is_quiet(), "nobody closes it before the linger is over");
            conn.send(GET).unwrap();
            expect_last(conn);
        }
        drop(kept);
        assert_eq!(expect_clean_exit(host).finished, 3);
    }
}

/// W8, its other end.
#[test]
fn idle_connection_is_closed_with_fin_after_the_linger() {
    for linger in ["0s", "400ms"] {
        let host = Host::serve("hello_p2").everywhere().args(["--linger", linger]).start();
        let mut kept = connections(&host);
        for conn in &mut kept {
            assert!(!conn.get("/").unwrap().head.says_close());
        }
        host.signal(Signal::TERM);
        for conn in &mut kept {
            conn.expect_fin();
        }
        drop(kept);
        let took = expect_clean_exit(host).took;
        assert!(took < 2.0, "{took} s");
        assert_eq!(took >= 0.4, linger == "400ms", "{took} s with a linger of {linger}");
    }
}

/// W9. Read whole, and its guest is at work.
#[test]
fn request_that_a_guest_works_on_is_answered_and_told_to_close() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).everywhere().args(NO_LINGER).start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            conn.send(POST_HEAD).unwrap();
        }
        host.wait_log_nth(says::GATE_STARTED, 2);
        stop(&host);
        for conn in &mut conns {
            assert!(conn.is_quiet());
            conn.send(OPEN).unwrap();
            assert_eq!(expect_last(conn).text(), "done\n");
        }
        drop(conns);
        assert_eq!(expect_clean_exit(host).finished, 3);
    }
}

/// Pipelining: whoever has already sent more may not be told to close by the first answer,
/// because nothing behind such an answer is answered (RFC 9112, 9.6).
#[test]
fn pipelined_requests_already_sent_are_all_answered_and_only_the_last_says_close() {
    for guest in ["gate_p2", "gate_p3"] {
        // The guest is to be at work when the body comes.
        let unread = ["--prefetch-body", "0B"];
        let host = Host::serve(guest).everywhere().args(NO_LINGER).args(unread).start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            conn.send("POST /head HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\n").unwrap();
        }
        host.wait_log_nth(says::GATE_STARTED, 2);
        stop(&host);
        for conn in &mut conns {
            conn.send(format!("x{GET}{GET}")).unwrap();
            for expected in ["done\n", "started\ndone\n"] {
                let response = expect_served(conn);
                assert_eq!(response.text(), expected);
                assert!(!response.head.says_close(), "another request is here: {response}");
            }
            assert_eq!(expect_last(conn).text(), "started\ndone\n");
        }
        drop(conns);
        assert_eq!(expect_clean_exit(host).finished, 9);
    }
}

/// The same where only the parser knows where the first request ends.
#[test]
fn request_pipelined_behind_a_chunked_body_is_answered_too() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).args(NO_LINGER).start();
        let mut conn = host.connect();
        conn.send(POST_HEAD).unwrap();
        host.wait_log(says::GATE_STARTED);
        stop(&host);
        conn.send(format!("{OPEN}{GET}")).unwrap();
        let response = expect_served(&mut conn);
        assert_eq!(response.text(), "done\n");
        assert!(!response.head.says_close(), "another request is here: {response}");
        expect_last(&mut conn);
        drop(conn);
        expect_clean_exit(host);
    }
}

/// W16. The head went out before anybody knew of a stop.
#[test]
fn connection_whose_head_went_out_without_close_is_served_once_more() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).everywhere().args(["--linger", "10s"]).start();
        let held: Vec<Held> = connections(&host).into_iter().map(Held::over).collect();
        stop(&host);
        for held in held {
            let mut conn = held.open();
            assert!(conn.is_quiet(), "it was not told, so it may ask again");
            conn.send(GET).unwrap();
            expect_last(&mut conn);
        }
        assert_eq!(expect_clean_exit(host).finished, 6);
    }
}

/// W16, its other end: the linger begins with the end of the answer.
#[test]
fn connection_whose_head_went_out_without_close_gets_fin_after_the_linger() {
    let host = Host::serve("gate_p2").everywhere().args(["--linger", "300ms"]).start();
    let held: Vec<Held> = connections(&host).into_iter().map(Held::over).collect();
    stop_and_see_idle_closed(&host);
    for held in held {
        held.open().expect_fin();
    }
    expect_clean_exit(host);
}

/// W17. A drain is no reason to refuse: the guest of each request is as fresh as before.
#[test]
fn requests_during_the_drain_are_served_by_fresh_instances_and_never_refused() {
    for guest in ["leak_p2", "leak_p3"] {
        let args = ["--linger", "10s", "--max-instances", "4", "--queue-timeout", "60s"];
        let host = Host::serve(guest).everywhere().args(args).start();
        let mut kept: Vec<Conn> = (0..20).flat_map(|_| connections(&host)).collect();
        let before = kept.iter_mut().map(|conn| conn.get("/").unwrap().text()).next_back();
        let before = before.expect("40 connections");
        assert!(before.contains("count: 1\n"), "{before}");
        stop(&host);
        for conn in &mut kept {
            conn.send(GET).unwrap();
        }
        for conn in &mut kept {
            assert_eq!(expect_last(conn).text(), before);
        }
        drop(kept);
        assert_eq!(expect_clean_exit(host).finished, 60);
    }
}

/// HTTP/1.0 without keep-alive, and one that asks for it, in flight at the stop.
#[test]
fn http_1_0_exchange_in_flight_is_answered_whole() {
    let host = Host::serve("drip_p2").everywhere().start();
    let mut conns = connections(&host);
    let mut heads = Vec::new();
    for conn in &mut conns {
        conn.send("GET /?n=10&ms=50 HTTP/1.0\r\nHost: t\r\n\r\n").unwrap();
        heads.push(conn.read_head().unwrap());
    }
    stop(&host);
    for (conn, head) in conns.iter_mut().zip(heads) {
        let body = conn.read_body(&head, "GET").expect("the whole answer").text();
        assert!(body.ends_with("tick 10\n"), "{body}");
    }
    assert_eq!(expect_clean_exit(host).finished, 3);
}

/// A client that asked before it sends its body has been promised that it will be read.
#[test]
fn upload_that_was_told_to_continue_before_the_stop_is_taken_whole() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).everywhere().args(NO_LINGER).start();
        let mut conns = connections(&host);
        let expecting = POST_HEAD.replace("Host", "Expect: 100-continue\r\nHost");
        for conn in &mut conns {
            conn.send(&expecting).unwrap();
            assert_eq!(conn.read_head().unwrap().status, 100);
        }
        stop(&host);
        for conn in &mut conns {
            conn.send(OPEN).unwrap();
            assert_eq!(expect_last(conn).text(), "done\n");
        }
        drop(conns);
        expect_clean_exit(host);
    }
}
