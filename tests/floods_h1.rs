//! Floods over HTTP/1, as bytes: none of them makes the host hold more than a buffer. (Half heads, silence and slow bodies:
//! `peers.rs`, `slow_bodies.rs`.)

use std::thread;

use crate::support::flood::Victim;
use crate::support::memory::Peak;
use crate::support::prelude::*;
use crate::support::wire;

const GOOD: &str = "/good";

/// What the host says to `bytes` that have no end, or how it ends the connection without a word.
#[track_caller]
fn answer_to_endless(host: &Host, beginning: &str, endless: &str) -> Option<u16> {
    let mut conn = host.connect();
    conn.send(beginning).unwrap();
    let endless = endless.repeat((64 << 10) / endless.len());
    let mut writer = conn.writer();
    // It ends when the host does not read on: at most so much, so that a host that does is seen.
    let sending = thread::spawn(move || {
        (0..1024).all(|_| std::io::Write::write_all(&mut writer, endless.as_bytes()).is_ok())
    });
    let status = conn.read_response("POST").ok().map(|answer| answer.status());
    conn.expect_reset_or_eof();
    drop(conn);
    assert!(!sending.join().unwrap(), "the host has read 64 MiB of {beginning:?}");
    status
}

#[test]
fn heads_bodies_and_trailers_without_an_end_are_refused() {
    let chunked = wire::chunked("/bad/count");
    let cases = [
        ("a request line", "GET /".to_owned(), "a", &[431, 414][..]),
        ("a field", "GET / HTTP/1.1\r\nX: ".to_owned(), "a", &[431]),
        ("fields", "GET / HTTP/1.1\r\n".to_owned(), "X: a\r\n", &[431]),
        ("a chunk's extension", chunked.clone() + "1;a=", "a", &[400]),
        ("chunks' extensions", chunked.clone(), "1;a=b\r\nx\r\n", &[400]),
        ("zeros of a chunk's size", chunked.clone(), "0", &[400]),
        ("trailers", chunked.clone() + "0\r\n", "X: a\r\n", &[400]),
        ("a trailer", chunked + "0\r\nX: ", "a", &[400]),
    ];
    let victim = Victim::with("reader_p2");
    for (what, beginning, endless, expected) in cases {
        victim.withstands(what, |host| {
            let status = answer_to_endless(host, &beginning, endless);
            assert!(status.is_none_or(|status| expected.contains(&status)), "{what}: {status:?}");
        });
    }
    victim.expect_clean_stop();
}

/// All of them are answered, one after the other: what waits, waits in the kernel.
#[test]
fn ten_thousand_requests_in_one_go_are_answered_in_their_order() {
    let victim = Victim::with("echo_p2");
    victim.withstands("pipelined requests", |host| {
        let mut conn = host.connect();
        let all: String = (0..10_000)
            .map(|number| match number % 10 {
                0 => wire::sized("/bad", 6) + &format!("{number:06}"),
                _ => wire::get(GOOD),
            })
            .collect();
        let sending = wire::send_beside(&conn, all.into_bytes());
        for number in 0..10_000 {
            let answer = conn.read_response("GET").unwrap();
            let expected = match number % 10 {
                0 => format!("{number:06}"),
                _ => "hello world\n".to_owned(),
            };
            assert_eq!((answer.status(), answer.text()), (200, expected));
        }
        sending.join().unwrap();
    });
    victim.expect_clean_stop();
}

/// Of a client that reads no answer the host reads no more requests than fit between the two.
#[test]
fn requests_of_a_client_that_reads_nothing_wait_in_the_kernel() {
    // Nobody is given up for being slow, however slow the machine is.
    let args = ["--min-rate", "off", "--body-idle-timeout", "1h"];
    let host = Host::serve("echo_p2").args(args).start();
    let peak = Peak::begin(&host);
    let uploads = (wire::sized("/", 60 << 10) + &"x".repeat(60 << 10)).repeat(500);
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let conn = host.connect();
            let sending = wire::send_beside(&conn, uploads.clone().into_bytes());
            (conn, sending)
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(host.get("/").status(), 200);
    }
    let grown = peak.grown_kib();
    assert!(grown < 16 << 10, "the host grew by {grown} KiB");
    for (conn, sending) in clients {
        assert!(!sending.is_finished(), "30 MB went through, and no answer was read");
        // What waits to be sent ends with it.
        conn.half_close();
        sending.join().unwrap();
    }
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

/// Each of the bytes may come by itself, and a client may ask for leave each time.
#[test]
fn tiny_pieces_are_put_together() {
    let victim = Victim::with("echo_p2");
    victim.withstands("a byte in a packet", |host| {
        let mut conn = host.connect();
        for _ in 0..3 {
            let request = wire::chunked("/bad") + &"1\r\nx\r\n".repeat(200) + wire::LAST_CHUNK;
            for byte in request.bytes() {
                conn.send([byte]).unwrap();
            }
            assert_eq!(conn.read_response("POST").unwrap().text(), "x".repeat(200));
        }
    });
    victim.withstands("leave to go on", |host| {
        let mut conn = host.connect();
        let expects = wire::sized("/bad", 1).replace("Host", "Expect: 100-continue\r\nHost");
        for _ in 0..200 {
            conn.send(&expects).unwrap();
            assert_eq!(conn.read_head().unwrap().status, 100);
            conn.send("x").unwrap();
            assert_eq!(conn.read_response("POST").unwrap().text(), "x");
        }
    });
    victim.expect_clean_stop();
}
