//! Leftovers: bytes that belong to no request, bodies that no guest read, answers that a peer takes
//! slowly. Each of these lost a request, spun a core or broke a connection once.

use crate::support::h2frame::FIRST_WINDOW;
use crate::support::prelude::*;

/// The head was written by the length still owed, and frames that had been taken before the head
/// went out did not count any more: a guest with a declared length and two writes sent a head that
/// promised ten bytes, no body, and the next answer in its place.
#[test]
fn answer_of_declared_length_in_many_writes_is_whole_and_the_connection_goes_on() {
    for guest in ["drip_p2", "drip_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        for path in ["/?n=2&bytes=5&declare=1", "/?n=3&bytes=700&ms=20&declare=1"] {
            for _ in 0..3 {
                let answer = conn.get(path).unwrap();
                let length: usize = answer.header("content-length").unwrap().parse().unwrap();
                assert_eq!((answer.status(), answer.text().len()), (200, length), "{guest}{path}");
            }
            let mut h2 = H2::connect(host.addr());
            h2.get(1, path);
            let answer = h2.expect_answer(1);
            assert_eq!(answer.status, 200, "{guest}{path}");
            let length = ("content-length".into(), answer.body.len().to_string());
            assert!(answer.headers.contains(&length), "{guest}{path}");
        }
    }
}

/// hyper keeps empty lines before a head in its buffer, and a connection with nothing else in it
/// was taken for one whose request has begun, again and again.
#[test]
fn empty_lines_alone_do_not_keep_a_connection() {
    let host = Host::serve("hello_p2").args(["--request-head-timeout", "500ms"]).start();
    let mut conn = host.connect();
    conn.send("\r\n").unwrap();
    conn.expect_fin();
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// The empty line that old clients send behind a body (RFC 9112 §2.2).
#[test]
fn empty_line_behind_a_body_does_not_hold_a_stop() {
    let args = ["--linger", "200ms", "--drain-timeout", "1h"];
    let host = Host::serve("reader_p2").args(args).start();
    let mut conn = host.connect();
    conn.send("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\r\n").unwrap();
    assert_eq!(conn.read_response("POST").unwrap().text(), "2 bytes\n");
    host.signal(Signal::TERM);
    conn.expect_fin();
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// hyper closes behind an answer that did not wait for the body, and the answer had not said so:
/// the next request of the connection was lost, without any stop.
#[test]
fn body_that_the_guest_does_not_read_costs_the_connection_nothing() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        for _ in 0..3 {
            conn.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").unwrap();
            let answer = conn.read_response("POST").unwrap();
            assert_eq!((answer.status(), answer.text()), (200, "ignored\n".into()), "{guest}");
            assert!(!answer.head.says_close());
            conn.send("0123456789".repeat(100_000)).unwrap();
        }
    }
}

/// A body that was held back and not asked for may never come, so it is not waited for: the answer
/// says that this is the end, and what comes next is no body.
#[test]
fn body_that_was_not_asked_for_ends_the_connection_and_the_answer_says_so() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        let head =
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
        conn.send(head).unwrap();
        let answer = conn.read_response("POST").unwrap();
        assert_eq!((answer.status(), answer.text()), (200, "ignored\n".into()), "{guest}");
        assert!(answer.head.says_close());
        conn.expect_fin();
    }
}

/// The stream's task has ended and its frames wait in our buffer for the peer's window. A peer that
/// answered no PING was taken for one that is owed nothing, and its answer ended with a FIN.
#[test]
fn answer_that_waits_for_an_http2_window_outlives_the_goaway() {
    for guest in ["big_p2", "big_p3"] {
        let host = Host::serve(guest).start();
        let mut h2 = H2::connect(host.addr());
        h2.ack_pings(false);
        h2.send_headers(1, "GET", "/?kib=200", true);
        let mut body = Vec::new();
        while body.len() < FIRST_WINDOW as usize {
            body.extend(h2.expect_data(1).0);
        }
        host.signal(Signal::TERM);
        assert_eq!(h2.expect_goaway().0, 0x7fff_ffff);
        // The patience for its PING is over, and only its answer is still owed.
        assert_eq!(h2.expect_goaway().0, 1);
        h2.send_window_update(0, 1 << 20);
        h2.send_window_update(1, 1 << 20);
        loop {
            let (bytes, last) = h2.expect_data(1);
            body.extend(bytes);
            if last {
                break;
            }
        }
        assert_eq!(body.len(), 200 << 10, "{guest}");
        drop(h2);
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}

/// A peer that always has its next request under way would never be told to leave.
#[test]
fn peer_that_always_pipelines_is_told_in_the_end() {
    let host = Host::serve("sleep_p2").start();
    let mut conn = host.connect();
    let get = "GET /?ms=50 HTTP/1.1\r\nHost: a\r\n\r\n";
    conn.send(get.repeat(3)).unwrap();
    assert_eq!(conn.read_response("GET").unwrap().text(), "slept\n");
    host.signal(Signal::TERM);
    host.wait_log(says::DRAINING);
    loop {
        // Two are always under way behind the one that is answered.
        conn.send(get).ok();
        if conn.read_response("GET").unwrap().head.says_close() {
            break;
        }
    }
    drop(conn);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}
