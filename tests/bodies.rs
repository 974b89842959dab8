//! Bodies stream both ways, with backpressure and trailers; nothing is held whole.

use crate::support::h2frame::FIRST_WINDOW;
use crate::support::h2raw::fields;
use crate::support::memory::resident_kib;
use crate::support::prelude::*;
use crate::support::wire;

const MIB: usize = 1 << 20;

/// Bytes in which a piece that is missing, doubled or moved shows.
fn pattern(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_be_bytes).take(length).collect()
}

#[test]
fn head_request_gets_the_head_alone_and_its_guest_finishes() {
    for guest in ["after_p2", "after_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!((head.status, head.header("content-length")), (200, Some("9")));
        host.wait_log_nth("after: done", 1);
        assert_eq!(conn.get("/").unwrap().text(), "answered\n", "no byte of a body before it");
        host.wait_log_nth("after: done", 2);
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "HEAD", "/", true);
        let answer = h2.expect_answer(1);
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        assert!(answer.headers.contains(&("content-length".into(), "9".into())));
        host.wait_log_nth("after: done", 3);
    }
}

#[test]
fn h1_echo_gives_each_chunk_back_before_the_next_is_sent() {
    for guest in ["echo_p2", "echo_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send(wire::chunked("/")).unwrap();
        conn.send(wire::chunk("one")).unwrap();
        assert_eq!(conn.read_head().unwrap().status, 200);
        assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(&b"one"[..]));
        for text in ["two", "three"] {
            conn.send(wire::chunk(text)).unwrap();
            assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(text.as_bytes()));
        }
        conn.send(wire::LAST_CHUNK).unwrap();
        assert_eq!(conn.read_chunk().unwrap(), None);
    }
}

#[test]
fn h2_echo_gives_each_frame_back_before_the_next_is_sent() {
    for guest in ["echo_p2", "echo_p3"] {
        let host = Host::serve(guest).start();
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/", false);
        for text in ["one", "two", "three"] {
            h2.send_data(1, text.as_bytes(), false);
            assert_eq!(h2.expect_data(1), (text.as_bytes().to_vec(), false));
        }
        h2.send_data(1, b"", true);
        assert_eq!(h2.expect_answer(1).status, 200);
    }
}

#[test]
fn h1_answer_has_its_trailers_when_the_client_takes_them() {
    for guest in ["trailers_p2", "trailers_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send("GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\n\r\n").unwrap();
        let answer = conn.read_response("GET").unwrap();
        assert_eq!(answer.text(), "with trailers\n");
        assert_eq!(answer.body.trailers, [("x-sum".to_owned(), "42".to_owned())]);
        let plain = conn.get("/").unwrap();
        assert_eq!((plain.text().as_str(), plain.body.trailers.len()), ("with trailers\n", 0));
    }
}

#[test]
fn h2_answer_has_its_trailers() {
    for guest in ["trailers_p2", "trailers_p3"] {
        let host = Host::serve(guest).start();
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/");
        assert_eq!(h2.expect_data(1).0, b"with trailers\n");
        assert_eq!(h2_trailers(&mut h2, 1), [("x-sum".to_owned(), "42".to_owned())]);
    }
}

#[track_caller]
fn h2_trailers(h2: &mut H2, stream: u32) -> Vec<(String, String)> {
    h2.wait("trailers", |frame| match frame {
        Frame::Headers { stream: of, status: None, headers, end_stream: true } if *of == stream => {
            Some(headers.clone())
        }
        _ => None,
    })
}

#[test]
fn trailers_of_a_request_reach_the_guest() {
    for guest in ["echo_p2", "echo_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send(
            "POST / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nTrailer: x-sum\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
        )
        .unwrap();
        let answer = conn.read_response("POST").unwrap();
        assert_eq!(answer.text(), "abc");
        assert_eq!(answer.body.trailers, [("x-sum".to_owned(), "7".to_owned())], "{guest}");

        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/", false);
        h2.send_data(1, b"abc", false);
        h2.send_fields(1, &[("x-sum", "7")], true);
        assert_eq!(h2.expect_data(1).0, b"abc");
        assert_eq!(h2_trailers(&mut h2, 1), [("x-sum".to_owned(), "7".to_owned())], "{guest}");
    }
}

const EXPECT: &str = "Host: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";

#[test]
fn continue_comes_when_the_guest_reads() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send(format!("POST /count HTTP/1.1\r\n{EXPECT}")).unwrap();
        assert_eq!(conn.read_head().unwrap().status, 100);
        assert!(conn.is_quiet());
        conn.send("body").unwrap();
        assert_eq!(conn.read_response("POST").unwrap().text(), "4 bytes\n");
    }
}

/// The status of the next head on `stream`, be it an interim one.
fn h2_next_status(h2: &mut H2, stream: u32) -> u16 {
    h2.wait(&format!("a head on stream {stream}"), |frame| match frame {
        Frame::Headers { stream: of, status, .. } if *of == stream => *status,
        _ => None,
    })
}

/// hyper cannot send it: clients of HTTP/2 waited until their own patience was over.
#[test]
fn continue_comes_over_http_2_when_the_guest_reads() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).start();
        let mut h2 = H2::connect(host.addr());
        let expects = [("content-length", "4"), ("expect", "100-continue")];
        let head = |path| [fields("POST", path), expects.to_vec()].concat();
        // Many that wait at once, and in between who does not wait and who is not served.
        for stream in [1, 5, 9] {
            h2.send_fields(stream, &head("/count"), false);
            h2.send_headers(stream + 2, "GET", "/count", true);
        }
        h2.send_fields(13, &[("nonsense", "x")], false);
        h2.send_fields(15, &head("/count"), false);
        for stream in [15, 9, 5, 1] {
            assert_eq!(h2_next_status(&mut h2, stream), 100, "stream {stream}");
            h2.send_data(stream, b"body", true);
            assert_eq!(h2_next_status(&mut h2, stream), 200, "stream {stream}");
            assert_eq!(h2.expect_data(stream).0, b"4 bytes\n");
        }
        // A client whose request is answered unread is not asked to continue.
        h2.send_fields(19, &head("/"), false);
        assert_eq!(h2_next_status(&mut h2, 19), 200, "no 100 before it");
    }
}

/// The answer said that it was the last one, as if the body had not been asked for.
#[test]
fn connection_goes_on_behind_a_body_that_was_asked_for() {
    for guest in ["echo_p2", "echo_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send(format!("POST / HTTP/1.1\r\n{EXPECT}")).unwrap();
        assert_eq!(conn.read_head().unwrap().status, 100);
        conn.send("bo").unwrap();
        let head = conn.read_head().unwrap();
        assert!(head.status == 200 && !head.says_close(), "{guest}");
        conn.send("dy").unwrap();
        assert_eq!(conn.read_body(&head, "POST").unwrap().text(), "body");
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
}

#[test]
fn continue_does_not_come_from_a_guest_that_answers_without_reading() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send(format!("POST / HTTP/1.1\r\n{EXPECT}")).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(head.status, 200, "no 100 before it");
        assert_eq!(conn.read_body(&head, "POST").unwrap().text(), "ignored\n");
    }
}

#[test]
fn continue_does_not_come_from_a_host_that_refuses() {
    let host = Host::serve("reader_p2").args(["--max-request-body", "3B"]).start();
    let mut conn = host.connect();
    conn.send(format!("POST /count HTTP/1.1\r\n{EXPECT}")).unwrap();
    assert_eq!(conn.read_head().unwrap().status, 413);
}

#[test]
fn unread_body_does_not_become_the_next_request() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        let inner = wire::get("/count");
        conn.send(wire::sized("/", inner.len()) + &inner + &wire::get("/")).unwrap();
        assert_eq!(conn.read_response("POST").unwrap().text(), "ignored\n");
        match conn.read_response("GET") {
            Ok(next) => assert_eq!(next.text(), "ignored\n"),
            broken => wire::assert_broken(broken),
        }
    }
}

#[test]
fn h1_upload_of_ten_mib_is_echoed_whole() {
    for guest in ["echo_p2", "echo_p3"] {
        let host = Host::serve(guest).start();
        let body = pattern(10 * MIB);
        let mut conn = host.connect();
        conn.send(wire::sized("/", body.len())).unwrap();
        let sender = wire::send_beside(&conn, body.clone());
        let answer = conn.read_response("POST").unwrap();
        sender.join().unwrap();
        assert!(answer.body.bytes == body, "{} bytes, not those sent", answer.body.bytes.len());
        assert_eq!(conn.get("/").unwrap().status(), 200, "the connection goes on");
    }
}

#[test]
fn h2_upload_of_ten_mib_is_echoed_whole_within_the_windows() {
    for guest in ["echo_p2", "echo_p3"] {
        let host = Host::serve(guest).start();
        let body = pattern(10 * MIB);
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/", false);
        let (mut sent, mut got, mut ended) = (0, Vec::new(), false);
        let (mut stream, mut connection) = (FIRST_WINDOW, FIRST_WINDOW);
        while !ended {
            let room = (stream.min(connection) as usize).min(16 << 10).min(body.len() - sent);
            if room > 0 {
                let next = sent + room;
                h2.send_data(1, &body[sent..next], next == body.len());
                sent = next;
                let by = u32::try_from(room).expect("a frame is short");
                (stream, connection) = (stream - by, connection - by);
                continue;
            }
            match h2.read_frame().unwrap() {
                Frame::WindowUpdate { stream: 0, by } => connection += by,
                Frame::WindowUpdate { by, .. } => stream += by,
                Frame::Data { bytes, end_stream, .. } => {
                    got.extend(bytes);
                    ended = end_stream;
                }
                Frame::RstStream { code, .. } => panic!("reset with {code} after {sent} bytes"),
                _ => {}
            }
        }
        assert!(got == body, "{} bytes, not those sent", got.len());
    }
}

#[test]
fn upload_is_held_back_while_its_guest_does_not_read() {
    for guest in ["sleep_p2", "sleep_p3"] {
        let host = Host::serve(guest).start();
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/?ms=300", false);
        h2.send_data(1, &[b'x'; 16 << 10], false);
        // No room is given back for bytes that no guest has taken.
        let mut updates = 0;
        let status = loop {
            match h2.read_frame().unwrap() {
                Frame::WindowUpdate { stream: 1, .. } => updates += 1,
                Frame::Headers { status: Some(status), .. } => break status,
                _ => {}
            }
        };
        assert_eq!((status, updates), (200, 0));
    }
}

#[test]
fn h1_peer_that_does_not_read_stops_its_guest_and_then_gets_everything() {
    for guest in ["big_p2", "big_p3"] {
        let host = Host::serve(guest).start();
        let mut slow = host.connect();
        slow.send(wire::get("/?kib=65536")).unwrap();
        let head = slow.read_head().unwrap();
        let before = resident_kib(&host);
        // A peer that reads gets as much meanwhile, so the first has had its time.
        assert_eq!(host.get("/?kib=64512").body.bytes.len(), 63 * MIB);
        host.wait_log("big: wrote 64512 KiB");
        assert!(!host.log().contains("big: wrote 65536 KiB"), "the guest was not stopped");
        let grown = resident_kib(&host).saturating_sub(before);
        assert!(grown < 32 << 10, "grown by {grown} KiB");
        let body = slow.read_body(&head, "GET").unwrap();
        assert!(body.bytes == b"0123456789abcde\n".repeat(4 * MIB));
        host.wait_log("big: wrote 65536 KiB");
    }
}

#[test]
fn h2_peer_that_gives_no_window_stops_its_guest_and_then_gets_everything() {
    for guest in ["big_p2", "big_p3"] {
        let host = Host::serve(guest).start();
        let mut h2 = H2::connect_with_window(host.addr(), 65_535);
        h2.get(1, "/?kib=32768");
        assert_eq!(h2.expect_status(1), 200);
        assert_eq!(host.get("/?kib=31744").body.bytes.len(), 31 * MIB);
        host.wait_log("big: wrote 31744 KiB");
        assert!(!host.log().contains("big: wrote 32768 KiB"), "the guest was not stopped");
        h2.send_window_update(1, 1 << 30);
        let (mut got, mut ended) = (0, false);
        while !ended {
            let (bytes, last) = h2.expect_data(1);
            (got, ended) = (got + bytes.len(), last);
        }
        assert_eq!(got, 32 * MIB);
    }
}
