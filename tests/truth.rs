//! Truth on the wire: a failed answer never looks like a whole one, and tells nothing of the guest.

use crate::support::prelude::*;
use crate::support::wire::{self, assert_broken};

/// Fails unless this is the host's own 500.
#[track_caller]
fn assert_own_500(answer: &Response) {
    assert_eq!(answer.status(), 500, "{answer}");
    assert_eq!(answer.text(), "internal error\n");
    let names: Vec<&str> = answer.head.headers.iter().map(|(name, _)| name.as_str()).collect();
    let ours = ["content-type", "content-length", "connection", "date", "x-request-id"];
    assert!(names.iter().all(|name| ours.contains(&&*name.to_ascii_lowercase())), "{answer}");
}

/// Fails unless the answer is broken off or, when no head was out yet, the host's own 500.
#[track_caller]
fn assert_failed(answer: Result<Response, Broken>) {
    match answer {
        Ok(answer) => assert_own_500(&answer),
        broken => assert_broken(broken),
    }
}

/// The same over HTTP/2, for the answer to a GET.
#[track_caller]
fn assert_h2_failed(host: &Host, path: &str) {
    let mut h2 = H2::connect(host.addr());
    h2.get(1, path);
    let failed = h2.wait("a failure", |frame| match frame {
        Frame::Headers { status: Some(500), .. } => Some(true),
        Frame::RstStream { code, .. } => Some(*code != NO_ERROR),
        Frame::Data { end_stream: true, .. } | Frame::Headers { end_stream: true, .. } => {
            Some(false)
        }
        _ => None,
    });
    assert!(failed, "{path} ended well");
}

/// Sends a GET over HTTP/2, and fails unless its answer begins and is then reset.
#[track_caller]
fn assert_h2_broken(host: &Host, path: &str) {
    let mut h2 = H2::connect(host.addr());
    h2.get(1, path);
    assert_eq!(h2.expect_status(1), 200);
    assert_h2_reset(&mut h2, 1);
}

/// Fails unless the next end of `stream` is a reset with an error, not END_STREAM.
#[track_caller]
fn assert_h2_reset(h2: &mut H2, stream: u32) {
    let code = h2.wait("the end of the stream", |frame| match frame {
        Frame::RstStream { stream: of, code } if *of == stream => Some(Some(*code)),
        Frame::Data { stream: of, end_stream: true, .. } if *of == stream => Some(None),
        Frame::Headers { stream: of, end_stream: true, .. } if *of == stream => Some(None),
        _ => None,
    });
    assert!(code.is_some_and(|code| code != NO_ERROR), "the stream ended with {code:?}");
}

#[test]
fn trap_before_the_head_is_answered_500_that_tells_nothing() {
    for guest in ["trap_p2", "trap_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        assert_own_500(&conn.get("/").unwrap());
        assert_own_500(&conn.get("/").unwrap());
        let line = host.wait_log("unreachable");
        assert!(line.contains(&format!("component=\"{guest}\"")), "{line}");
        assert!(line.contains("exchange=") && line.contains("generation="), "{line}");
    }
}

#[test]
fn trap_after_the_head_leaves_a_chunked_body_without_its_end() {
    for guest in ["trap_late_p2", "trap_late_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send(wire::chunked("/gate")).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(&b"first\n"[..]));
        conn.send(wire::LAST_CHUNK).unwrap();
        assert_broken(conn.read_chunk());
        host.wait_log("answer broken off");
    }
}

#[test]
fn trap_after_the_head_resets_an_h2_stream_and_no_other() {
    for guest in ["trap_late_p2", "trap_late_p3"] {
        let host = Host::serve(guest).start();
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/gate", false);
        assert_eq!(h2.expect_data(1).0, b"first\n");
        h2.send_headers(3, "POST", "/gate", false);
        assert_eq!(h2.expect_data(3).0, b"first\n");
        h2.send_data(3, b"", true);
        assert_h2_reset(&mut h2, 3);
        h2.send_ping(false, *b"and now?");
        let other = h2.wait("the answer to a PING", |frame| match frame {
            Frame::RstStream { stream: 1, .. } | Frame::GoAway { .. } => Some("ended"),
            Frame::Ping { ack: true, .. } => Some("goes on"),
            _ => None,
        });
        assert_eq!(other, "goes on");
        h2.send_data(1, b"", true);
        assert_h2_reset(&mut h2, 1);
    }
}

#[test]
fn trap_after_the_head_resets_an_old_connection_whose_close_would_end_the_body() {
    for guest in ["trap_late_p2", "trap_late_p3"] {
        // An old client has no chunks, and here it answers the guest with its body.
        let host = Host::serve(guest).args(["--prefetch-body", "0B"]).start();
        let mut conn = host.connect();
        conn.send("POST /gate HTTP/1.0\r\nContent-Length: 1\r\n\r\n").unwrap();
        assert_eq!(conn.read_head().unwrap().status, 200);
        assert_eq!(conn.read_exact(6).unwrap(), b"first\n");
        conn.send("x").unwrap();
        assert_eq!(conn.expect_reset_or_eof(), (Vec::new(), Ended::Reset));
    }
}

#[test]
fn guest_killed_for_its_time_after_the_head_breaks_the_message() {
    for (guest, path, flag) in [
        ("busy_p2", "/late", "--cpu-time"),
        ("busy_p3", "/late", "--cpu-time"),
        ("drip_p2", "/?n=1&ms=60000", "--body-idle-timeout"),
        ("drip_p3", "/?n=1&ms=60000", "--body-idle-timeout"),
        ("drip_p2", "/?n=100000&ms=10", "--exchange-timeout"),
        ("drip_p3", "/?n=100000&ms=10", "--exchange-timeout"),
    ] {
        let host = Host::serve(guest).args([flag, "500ms"]).start();
        let mut conn = host.connect();
        conn.send(wire::get(path)).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(head.status, 200, "{guest} {flag}");
        assert_broken(conn.read_body(&head, "GET"));
        assert_h2_broken(&host, path);
    }
}

#[test]
fn guest_without_an_answer_is_answered_500() {
    for guest in ["silent_p2", "silent_p3"] {
        assert_own_500(&Host::serve(guest).start().get("/"));
    }
}

#[test]
fn text_of_a_guests_error_stays_in_the_log() {
    for guest in ["silent_p2", "silent_p3"] {
        let host = Host::serve(guest).start();
        assert_own_500(&host.get("/error"));
        host.wait_log("secret");
    }
}

#[test]
fn body_left_unfinished_is_broken_off() {
    let host = Host::serve("silent_p2").start();
    let mut conn = host.connect();
    assert_failed(conn.get("/leak"));
    assert_h2_failed(&host, "/leak");
}

#[test]
fn guest_that_exits_ends_itself_and_not_the_host() {
    let host = Host::serve("exit_p2").start();
    for path in ["/", "/error", "/"] {
        assert_own_500(&host.get(path));
    }
    host.wait_log("guest called exit");
}

#[test]
fn fields_of_the_connection_are_not_for_guests() {
    let host = Host::serve("odd_p2").start();
    let answer = host.get("/forbidden");
    assert_eq!(answer.text(), "refused: connection transfer-encoding upgrade host keep-alive\n");
    assert!(answer.head.headers.iter().all(|(_, value)| value != "x"), "{answer}");
}

#[test]
fn body_shorter_than_its_length_is_broken_off() {
    let host = Host::serve("odd_p2").start();
    let mut conn = host.connect();
    conn.send(wire::get("/length?say=10&give=5")).unwrap();
    assert_failed(conn.read_response("GET"));
    assert_h2_failed(&host, "/length?say=10&give=5");
}

#[test]
fn body_longer_than_its_length_never_runs_into_the_next_answer() {
    let host = Host::serve("odd_p2").start();
    let mut conn = host.connect();
    conn.send(wire::get("/length?say=5&give=10") + &wire::get("/status?code=404")).unwrap();
    match conn.read_response("GET") {
        Ok(answer) if answer.status() == 500 => assert_own_500(&answer),
        Ok(answer) => {
            assert_eq!(answer.text(), "xxxxx");
            match conn.read_response("GET") {
                Ok(next) => assert_eq!(next.status(), 404, "the rest was sent: {next}"),
                broken => assert_broken(broken),
            }
        }
        broken => assert_broken(broken),
    }
}

#[test]
fn two_lengths_never_reach_the_wire() {
    let host = Host::serve("odd_p2").start();
    match host.connect().get("/dup") {
        // The reader takes two lengths for malformed, and a body of another length for broken.
        Ok(answer) if answer.status() == 200 => assert_eq!(answer.text(), "five\n"),
        Ok(answer) => assert_own_500(&answer),
        broken => assert_broken(broken),
    }
    let mut h2 = H2::connect(host.addr());
    h2.get(1, "/dup");
    let lengths = h2.wait("an answer", |frame| match frame {
        Frame::Headers { headers, .. } => {
            Some(headers.iter().filter(|(name, _)| name == "content-length").count())
        }
        _ => None,
    });
    assert!(lengths <= 1, "{lengths} lengths");
}

#[test]
fn many_and_large_headers_are_sent_whole_or_not_at_all() {
    let host = Host::serve("odd_p2").start();
    for (path, name) in [("/many?n=50", "x-49"), ("/huge?kib=16", "x-huge")] {
        let answer = host.get(path);
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.header(name).is_some(), "{path}: {answer}");
    }
    for path in ["/many?n=20000", "/huge?kib=4096"] {
        let answer = host.get(path);
        let whole = answer.status() == 200 && matches!(&*answer.text(), "many\n" | "huge\n");
        assert!(whole || answer.status() == 500, "{path}: {}", answer.status());
        let mut h2 = H2::connect(host.addr());
        h2.get(1, path);
        h2.get(3, "/many?n=1");
        assert_eq!(h2.expect_answer(3).body, b"many\n", "beside {path}");
    }
}

#[test]
fn odd_status_of_a_guest_is_a_whole_final_answer_or_a_500() {
    let host = Host::serve("odd_p2").start();
    for code in [100, 101, 103, 199, 200, 205, 299, 304, 418, 500, 599, 600, 999, 1000, 65535] {
        let mut conn = host.connect();
        conn.send(wire::get(&format!("/status?code={code}"))).unwrap();
        let head = conn.read_head().unwrap();
        assert!((200..=999).contains(&head.status), "{code} became {}", head.status);
        let body = conn.read_body(&head, "GET").unwrap();
        assert!(body.bytes.len() < 20, "{code}: {body:?}");
        if !head.says_close() {
            assert_eq!(conn.get("/nobody").unwrap().status(), 204, "behind {code}");
        }
    }
}

#[test]
fn answer_without_a_body_has_none_on_the_wire() {
    let host = Host::serve("odd_p2").start();
    let mut conn = host.connect();
    for _ in 0..2 {
        let answer = conn.get("/nobody").unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.header("content-length"), None, "{answer}");
        assert_eq!(answer.header("transfer-encoding"), None, "{answer}");
    }
    assert!(conn.is_quiet());
    let mut h2 = H2::connect(host.addr());
    h2.get(1, "/nobody");
    let answer = h2.expect_answer(1);
    assert_eq!((answer.status, answer.body.len()), (204, 0));
}
