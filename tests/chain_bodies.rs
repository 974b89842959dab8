//! Bodies go through a chain in both directions as they come; nothing of them is held.

use std::time::Duration;

use crate::support::chain::Chain;
use crate::support::memory::Peak;
use crate::support::prelude::*;
use crate::support::status::{in_use, status, wait_all_instances_free};
use crate::support::stop::Held;
use crate::support::wire;

const MIB: usize = 1 << 20;

/// Much copying takes long on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// Chains of three: of one kind, of both, and with plugins that change heads.
const CHAINS: [[&str; 3]; 4] = [
    ["pass_p2", "pass_p2", "pass_p2"],
    ["pass_p3", "pass_p3", "pass_p3"],
    ["mark_p2", "pass_p3", "mark_p3"],
    ["mark_p3", "pass_p2", "headers_p3"],
];

/// Bytes in which a piece that is missing, doubled or moved shows.
fn pattern(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_be_bytes).take(length).collect()
}

/// Each chain before `name` of both kinds.
fn chains(name: &str) -> impl Iterator<Item = Chain> {
    let apps = [format!("{name}_p2"), format!("{name}_p3")];
    CHAINS.iter().flat_map(move |plugins| apps.clone().map(|app| Chain::new(plugins, &app)))
}

#[test]
fn an_answer_begins_before_its_request_has_ended() {
    for chain in chains("gate") {
        let host = chain.start();
        let mut conn = host.connect();
        conn.send(wire::chunked("/")).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(head.status, 200, "{chain:?}");
        assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(&b"started\n"[..]), "{chain:?}");
        assert!(conn.is_quiet());
        conn.send(wire::LAST_CHUNK).unwrap();
        assert_eq!(conn.read_body(&head, "POST").unwrap().text(), "done\n");
        // The same connection goes on.
        drop(Held::over(conn).open());
    }
}

#[test]
fn the_first_bytes_of_an_upload_arrive_while_the_client_still_sends() {
    for chain in chains("gate") {
        let host = chain.start();
        let mut conn = host.connect();
        conn.send(wire::chunked("/first")).unwrap();
        host.wait_log(says::GATE_STARTED);
        assert!(conn.is_quiet(), "nothing has been sent yet");
        conn.send(wire::chunk("x")).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(head.status, 200, "{chain:?}");
        assert_eq!(conn.read_body(&head, "POST").unwrap().text(), "done\n");
    }
}

#[test]
fn each_piece_comes_back_before_the_next_is_sent() {
    for chain in chains("echo") {
        let host = chain.start();
        let mut conn = host.connect();
        conn.send(wire::chunked("/")).unwrap();
        conn.send(wire::chunk("one")).unwrap();
        assert_eq!(conn.read_head().unwrap().status, 200);
        assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(&b"one"[..]), "{chain:?}");
        for text in ["two", "three"] {
            conn.send(wire::chunk(text)).unwrap();
            assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(text.as_bytes()), "{chain:?}");
        }
        conn.send(wire::LAST_CHUNK).unwrap();
        assert_eq!(conn.read_chunk().unwrap(), None);

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

/// It would last for a day, so what comes of it was not held until its end. That not even one piece is
/// held until the next one comes, the gates above show.
#[test]
fn a_slow_answer_is_handed_on_piece_by_piece() {
    for chain in chains("drip") {
        let host = chain.start_with_control();
        let mut conn = host.connect();
        conn.send(wire::get("/?n=1000000&ms=100")).unwrap();
        assert_eq!(conn.read_head().unwrap().status, 200);
        let ticks = b"tick 1\ntick 2\ntick 3\n";
        let mut got = Vec::new();
        while got.len() < ticks.len() {
            got.extend(conn.read_chunk().unwrap().expect("it goes on"));
        }
        // A busy machine may put two of them into one piece.
        assert!(got.starts_with(ticks), "{:?} {chain:?}", String::from_utf8_lossy(&got));
        conn.reset();
        wait_all_instances_free(&host);
    }
}

#[test]
fn trailers_go_through_in_both_directions() {
    let sum = [("x-sum".to_owned(), "7".to_owned())];
    for chain in chains("echo") {
        let host = chain.start();
        let mut conn = host.connect();
        conn.send(
            "POST / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nTrailer: x-sum\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
        )
        .unwrap();
        let answer = conn.read_response("POST").unwrap();
        assert_eq!(
            (answer.text().as_str(), &answer.body.trailers[..]),
            ("abc", &sum[..]),
            "{chain:?}"
        );
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/", false);
        h2.send_data(1, b"abc", false);
        h2.send_fields(1, &[("x-sum", "7")], true);
        assert_eq!(h2.expect_data(1).0, b"abc");
        let trailers = h2.wait("trailers", |frame| match frame {
            Frame::Headers { stream: 1, status: None, headers, end_stream: true } => {
                Some(headers.clone())
            }
            _ => None,
        });
        assert_eq!(trailers, sum, "{chain:?}");
    }
}

#[test]
fn an_answer_without_a_body_comes_through_and_the_connection_goes_on() {
    for plugins in CHAINS {
        let host = Chain::new(&plugins, "odd_p2").start();
        let mut conn = host.connect();
        for (path, status) in [("/nobody", 204), ("/status?code=304", 304), ("/nobody", 204)] {
            let answer = conn.get(path).unwrap();
            assert_eq!((answer.status(), answer.text().as_str()), (status, ""), "{plugins:?}");
            assert_eq!(answer.header("transfer-encoding"), None);
            let mut h2 = H2::connect(host.addr());
            h2.get(1, path);
            let answer = h2.expect_answer(1);
            assert_eq!((answer.status, answer.body.len()), (status, 0), "{plugins:?}");
        }
        assert_eq!(conn.get("/length?say=3&give=3").unwrap().text(), "xxx");
    }
}

#[test]
fn a_head_request_gets_the_head_that_a_get_would_get() {
    for chain in chains("drip") {
        let host = chain.start();
        let mut conn = host.connect();
        for _ in 0..2 {
            conn.send("HEAD /?n=3&bytes=10&declare=1 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
            let head = conn.read_head().unwrap();
            assert_eq!(
                (head.status, head.header("content-length")),
                (200, Some("30")),
                "{chain:?}"
            );
        }
        let answer = conn.get("/?n=3&bytes=10&declare=1").unwrap();
        assert_eq!((answer.text(), answer.header("content-length")), ("x".repeat(30), Some("30")));
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "HEAD", "/?n=3&bytes=10&declare=1", true);
        let answer = h2.expect_answer(1);
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        assert!(answer.headers.contains(&("content-length".into(), "30".into())), "{answer:?}");
        let log = host.log();
        assert!(!log.contains("WARN"), "{log}");
    }
}

#[test]
fn continue_comes_when_the_application_reads_and_not_before() {
    const EXPECT: &str = "Host: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    // Plugins of 0.2 take the body themselves; those of 0.3 that hand it over do not ask for it.
    for app in ["reader_p2", "reader_p3"] {
        for plugins in CHAINS {
            let host = Chain::new(&plugins, app).start();
            let mut conn = host.connect();
            conn.send(format!("POST /count HTTP/1.1\r\n{EXPECT}")).unwrap();
            assert_eq!(conn.read_head().unwrap().status, 100, "{plugins:?} {app}");
            conn.send("body").unwrap();
            assert_eq!(conn.read_response("POST").unwrap().text(), "4 bytes\n");
        }
        let host = Chain::new(&["pass_p3", "pass_p3"], app).start();
        let mut conn = host.connect();
        conn.send(format!("POST / HTTP/1.1\r\n{EXPECT}")).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(head.status, 200, "no 100 before it: {app}");
        assert_eq!(conn.read_body(&head, "POST").unwrap().text(), "ignored\n");
    }
}

#[test]
fn an_upload_that_breaks_off_breaks_the_answer_off_behind_every_plugin() {
    for chain in chains("echo") {
        let host = chain.start_with_control();
        let mut conn = host.connect();
        conn.send(wire::chunked("/")).unwrap();
        conn.send(wire::chunk("half")).unwrap();
        assert_eq!(conn.read_head().unwrap().status, 200);
        assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(&b"half"[..]));
        conn.half_close();
        wire::assert_broken(conn.read_chunk());
        drop(conn);
        wait_all_instances_free(&host);
    }
}

#[test]
fn a_request_body_may_be_as_large_as_every_component_on_its_way_allows() {
    for chain in chains("reader") {
        for name in ["one", "three", "app"] {
            let host = chain.clone().say(name, "limits.request-body = \"4B\"").start();
            let mut conn = host.connect();
            conn.send(wire::sized("/count", 4) + "1234").unwrap();
            assert_eq!(conn.read_response("POST").unwrap().text(), "4 bytes\n", "{chain:?}");
            conn.send(wire::sized("/count", 5) + "12345").unwrap();
            assert_eq!(conn.read_response("POST").unwrap().status(), 413);
            let mut conn = host.connect();
            conn.send(wire::chunked("/count")).unwrap();
            conn.send([wire::chunk("12345"), wire::LAST_CHUNK.into()].concat()).unwrap();
            assert_eq!(conn.read_response("POST").unwrap().status(), 413, "{name} {chain:?}");
        }
    }
}

/// Otherwise anybody could put it out of service.
#[test]
fn uploads_that_clients_break_off_do_not_put_the_application_aside() {
    for chain in chains("gate") {
        let breaker = "breaker.failures = 1\nbreaker.pause = \"60s\"";
        let host = chain
            .clone()
            .say("one", breaker)
            .say("app", breaker)
            .say("app", "limits.request-body = \"4B\"")
            .start_with_control();
        for _ in 0..10 {
            let mark = host.mark();
            let mut conn = host.connect();
            conn.send(wire::chunked("/head")).unwrap();
            host.wait_log_after(mark, says::GATE_STARTED);
            conn.reset();
        }
        for _ in 0..10 {
            let mut conn = host.connect();
            conn.send(wire::chunked("/head")).unwrap();
            conn.send(wire::chunk("12345")).unwrap();
            assert_eq!(conn.read_head().unwrap().status, 413, "{chain:?}");
        }
        wait_all_instances_free(&host);
        assert_eq!(host.get("/head").text(), "done\n", "{chain:?}");
        assert!(!host.log().contains("WARN"), "{}", host.log());
    }
}

#[test]
fn an_answer_larger_than_the_application_may_send_is_broken_behind_its_plugins() {
    for chain in chains("drip") {
        let chain = chain.say("app", "limits.response-body = \"20B\"");
        let host = chain.start();
        let mut conn = host.connect();
        assert_eq!(conn.get("/?n=2&bytes=10&ms=10").unwrap().text(), "x".repeat(20));
        conn.send(wire::get("/?n=3&bytes=10&ms=10")).unwrap();
        assert_eq!(conn.read_head().unwrap().status, 200);
        assert_eq!(conn.read_chunk().unwrap(), Some(vec![b'x'; 10]), "{chain:?}");
        assert_eq!(conn.read_chunk().unwrap(), Some(vec![b'x'; 10]), "{chain:?}");
        wire::assert_broken(conn.read_chunk());
        let line = host.wait_log(says::BROKEN_OFF);
        assert!(line.contains("component=\"app\""), "{line}");
    }
}

/// With time for much copying on a busy machine: of the processor, for an answer that comes behind the
/// whole upload, and for who waits meanwhile and reads nothing.
const PATIENT: &str = "[listen]\nmin-rate = \"off\"\n[limits]\ncpu-time = \"5m\"\nresponse-head-timeout = \"5m\"\n\
     body-idle-timeout = \"5m\"";

#[test]
fn a_body_of_64_mib_goes_through_three_plugins_and_is_never_held() {
    for plugins in CHAINS {
        for (up, down) in [("reader_p3", "big_p2"), ("reader_p2", "big_p3")] {
            let host = Chain::new(&plugins, up).and(PATIENT).start();
            let mut conn = host.connect().patient(LONG);
            conn.send(wire::sized("/count", MIB)).unwrap();
            conn.send(pattern(MIB)).unwrap();
            assert_eq!(conn.read_response("POST").unwrap().text(), format!("{MIB} bytes\n"));
            let memory = Peak::begin(&host);
            conn.send(wire::sized("/count", 64 * MIB)).unwrap();
            let sender = wire::send_beside(&conn, pattern(64 * MIB));
            let text = conn.read_response("POST").unwrap().text();
            assert_eq!(text, format!("{} bytes\n", 64 * MIB), "{plugins:?}");
            sender.join().unwrap();
            let grown = memory.grown_kib();
            assert!(grown < 24 << 10, "{plugins:?} {up}: grown by {grown} KiB");

            let host = Chain::new(&plugins, down).and(PATIENT).start();
            let mut conn = host.connect().patient(LONG);
            assert_eq!(conn.get("/?kib=1024").unwrap().body.bytes.len(), MIB);
            let memory = Peak::begin(&host);
            let body = conn.get("/?kib=65536").unwrap().body.bytes;
            assert!(body == b"0123456789abcde\n".repeat(4 * MIB), "{plugins:?}: other bytes");
            let grown = memory.grown_kib();
            assert!(grown < 24 << 10, "{plugins:?} {down}: grown by {grown} KiB");
        }
    }
}

#[test]
fn a_client_that_does_not_read_stops_the_application_behind_its_plugins() {
    for chain in chains("big") {
        let host = chain.clone().and(PATIENT).start_with_control();
        let mut slow = host.connect().patient(LONG);
        slow.send(wire::get("/?kib=65536")).unwrap();
        let head = slow.read_head().unwrap();
        // A client that reads gets as much meanwhile, so the first has had its time.
        assert_eq!(
            host.connect().patient(LONG).get("/?kib=64512").unwrap().body.bytes.len(),
            63 * MIB
        );
        host.wait_log("big: wrote 64512 KiB");
        assert!(!host.log().contains("big: wrote 65536 KiB"), "it was not stopped: {chain:?}");
        assert!(in_use(&status(&host)).iter().all(|(_, count)| *count >= 1));
        let body = slow.read_body(&head, "GET").unwrap();
        assert_eq!(body.bytes.len(), 64 * MIB);
        drop(slow);
        wait_all_instances_free(&host);
    }
}

#[test]
fn an_upload_and_its_echo_are_the_same_bytes_behind_three_plugins() {
    for chain in chains("echo") {
        let host = chain.start();
        let body = pattern(5 * MIB + 17);
        let mut conn = host.connect();
        conn.send(wire::sized("/", body.len())).unwrap();
        let sender = wire::send_beside(&conn, body.clone());
        let answer = conn.read_response("POST").unwrap();
        sender.join().unwrap();
        assert!(answer.body.bytes == body, "{} bytes, others", answer.body.bytes.len());
        assert_eq!(conn.get("/").unwrap().status(), 200, "the connection goes on");
    }
}
