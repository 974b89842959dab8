//! HTTP/2: the two GOAWAYs, and what crosses them.

use crate::support::h2frame::bytes;
use crate::support::h2raw::fields;
use crate::support::hpack;
use crate::support::prelude::*;
use crate::support::stop::{StopSummary, expect_clean_exit, freeze, stop, thaw_with};

/// Both addresses of a host that has two.
#[track_caller]
pub fn h2_connections(host: &Host) -> Vec<H2> {
    host.addrs().iter().map(H2::connect).collect()
}

/// The rest of an answer of which the head has been read.
#[track_caller]
fn rest(h2: &mut H2, stream: u32) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let (bytes, last) = h2.expect_data(stream);
        body.extend(bytes);
        if last {
            return body;
        }
    }
}

/// W11. A round trip lies between the two GOAWAYs, and what the client sent in it is served.
#[test]
fn stream_opened_between_the_two_goaways_is_served() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).everywhere().start();
        let mut both = h2_connections(&host);
        for h2 in &mut both {
            h2.ack_pings(false);
            h2.send_headers(1, "POST", "/", false);
            assert_eq!(h2.expect_status(1), 200);
        }
        host.signal(Signal::TERM);
        for h2 in &mut both {
            assert_eq!(h2.expect_goaway(), (ANY_STREAM, NO_ERROR));
            let ping = h2.expect_ping();
            h2.get(3, "/");
            h2.send_ping(true, ping);
            assert_eq!(h2.expect_goaway(), (3, NO_ERROR), "the last stream that is served");
            let crossed = h2.expect_answer(3);
            assert_eq!((crossed.status, &*crossed.body), (200, &b"started\ndone\n"[..]));
            h2.send_data(1, b"", true);
            assert_eq!(rest(h2, 1), b"started\ndone\n");
            h2.expect_fin();
        }
        drop(both);
        assert_eq!(expect_clean_exit(host).finished, 6);
    }
}

/// W11. Above the last id nothing is looked at, so the client may safely send it again.
#[test]
fn stream_above_the_last_id_is_not_served_and_those_below_are() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).start();
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/", false);
        assert_eq!(h2.expect_status(1), 200);
        host.signal(Signal::TERM);
        assert_eq!(h2.expect_goaway(), (ANY_STREAM, NO_ERROR));
        assert_eq!(h2.expect_goaway(), (1, NO_ERROR));
        h2.get(3, "/head");
        h2.send_data(1, b"", true);
        assert_eq!(rest(&mut h2, 1), b"started\ndone\n");
        loop {
            match h2.read_frame() {
                Ok(Frame::Headers { stream: 3, .. }) => panic!("stream 3 was refused by GOAWAY"),
                Ok(_) => {}
                Err(Broken::Fin(_)) => break,
                Err(e) => panic!("a clean FIN was due: {e}"),
            }
        }
        drop(h2);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        assert_eq!(StopSummary::read(&exit).finished, 1);
        assert!(!exit.stderr.contains(says::GATE_STARTED), "no guest saw stream 3");
    }
}

/// W11. hyper waits for the answer to its PING for ever; we do not.
#[test]
fn peer_that_never_answers_the_ping_and_owes_nothing_does_not_hold_the_stop() {
    let host = Host::serve("hello_p2").everywhere().args(NO_WAIT).start();
    let mut both = h2_connections(&host);
    for h2 in &mut both {
        h2.ack_pings(false);
        h2.get(1, "/");
        assert_eq!(h2.expect_answer(1).status, 200);
    }
    host.signal(Signal::TERM);
    for h2 in &mut both {
        assert_eq!(h2.expect_goaway(), (ANY_STREAM, NO_ERROR));
        h2.expect_fin();
    }
    drop(both);
    let took = expect_clean_exit(host).took;
    assert!(took >= 0.5, "it was given no time to answer: {took} s");
}

/// W11. Nor is anything lost by such a peer: as long as it is owed an answer it may go on.
#[test]
fn streams_of_a_peer_that_never_answers_the_ping_are_served() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).start();
        let mut h2 = H2::connect(host.addr());
        h2.ack_pings(false);
        h2.send_headers(1, "POST", "/", false);
        assert_eq!(h2.expect_status(1), 200);
        // The witness that the patience with such peers has passed.
        let mut idle = H2::connect(host.addr());
        idle.ack_pings(false);
        idle.get(1, "/");
        assert_eq!(idle.expect_answer(1).status, 200);
        host.signal(Signal::TERM);
        idle.expect_fin();
        h2.get(3, "/");
        assert_eq!(h2.expect_answer(3).body, b"started\ndone\n");
        h2.send_data(1, b"", true);
        assert_eq!(rest(&mut h2, 1), b"started\ndone\n");
        h2.expect_fin();
        drop((h2, idle));
        assert_eq!(expect_clean_exit(host).finished, 2);
    }
}

/// Found by the test of W17 on a busy machine: streams end on several threads, and the connection
/// was closed between the end of the last one and the write of its last bytes.
#[test]
fn streams_that_end_together_long_after_goaway_are_all_answered() {
    let streams = || (1..40).step_by(2);
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).start();
        let mut crowd: Vec<H2> = (0..20).map(|_| H2::connect(host.addr())).collect();
        for h2 in &mut crowd {
            h2.ack_pings(false);
            for stream in streams() {
                h2.send_headers(stream, "POST", "/", false);
            }
            for stream in streams() {
                assert_eq!(h2.expect_status(stream), 200);
            }
        }
        // The witness that the patience with a peer that answers no PING has passed.
        let mut idle = H2::connect(host.addr());
        idle.ack_pings(false);
        host.signal(Signal::TERM);
        idle.expect_fin();
        for h2 in &mut crowd {
            let ends = streams().flat_map(|stream| bytes(0, 0x1, stream, &[]));
            h2.conn.send(ends.collect::<Vec<u8>>()).unwrap();
        }
        for h2 in &mut crowd {
            for stream in streams() {
                assert_eq!(rest(h2, stream), b"started\ndone\n");
            }
            h2.expect_fin();
        }
        drop(crowd);
        assert_eq!(expect_clean_exit(host).finished, 400);
    }
}

/// Each wait that a stop could take for such a connection lasts an hour: only events end one. That no time
/// passes between them is seen on a paused clock, in `net/src/connection_h2_tests.rs`.
pub const NO_WAIT: [&str; 8] = [
    "--linger",
    "1h",
    "--drain-timeout",
    "1h",
    "--keep-alive-timeout",
    "1h",
    "--request-head-timeout",
    "1h",
];

/// An idle connection needs no linger: GOAWAY tells its peer what was not looked at.
#[test]
fn idle_connection_leaves_without_a_wait() {
    let host = Host::serve("hello_p2").everywhere().args(NO_WAIT).start();
    let mut both = h2_connections(&host);
    for h2 in &mut both {
        h2.get(1, "/");
        assert_eq!(h2.expect_answer(1).status, 200);
    }
    host.signal(Signal::TERM);
    for h2 in &mut both {
        assert_eq!(h2.expect_goaway(), (ANY_STREAM, NO_ERROR));
        assert_eq!(h2.expect_goaway(), (1, NO_ERROR));
        h2.expect_fin();
    }
    drop(both);
    expect_clean_exit(host);
}

/// W5. The stream's HEADERS lie in the kernel when the stop begins.
#[test]
fn stream_that_is_still_in_the_kernel_is_served() {
    for guest in ["hello_p2", "hello_p3"] {
        let host = Host::serve(guest).everywhere().start();
        let mut both = h2_connections(&host);
        for h2 in &mut both {
            h2.get(1, "/");
            assert_eq!(h2.expect_answer(1).status, 200);
        }
        freeze(&host);
        for h2 in &mut both {
            for stream in [3, 5, 7] {
                h2.get(stream, "/");
            }
        }
        thaw_with(&host, Signal::TERM);
        for h2 in &mut both {
            for stream in [3, 5, 7] {
                assert_eq!(h2.expect_answer(stream).body, b"hello world\n");
            }
            h2.expect_fin();
        }
        drop(both);
        expect_clean_exit(host);
    }
}

/// W7. Half a header block before the stop, its other half before the answer to the PING.
#[test]
fn half_a_header_block_is_served_when_its_rest_comes() {
    let host = Host::serve("hello_p2").everywhere().start();
    let mut both = h2_connections(&host);
    let block = hpack::encode(&fields("GET", "/"));
    let (first, second) = block.split_at(5);
    for h2 in &mut both {
        h2.ack_pings(false);
        h2.get(1, "/");
        assert_eq!(h2.expect_answer(1).status, 200);
        h2.send_frame(1, 0x1, 3, first);
    }
    host.signal(Signal::TERM);
    for h2 in &mut both {
        assert_eq!(h2.expect_goaway(), (ANY_STREAM, NO_ERROR));
        let ping = h2.expect_ping();
        h2.send_frame(9, 0x4, 3, second);
        h2.send_ping(true, ping);
        assert_eq!(h2.expect_answer(3).body, b"hello world\n");
        h2.expect_fin();
    }
    drop(both);
    expect_clean_exit(host);
}

/// W9. Its guest is at work, and no head is out.
#[test]
fn stream_that_a_guest_works_on_is_answered() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).everywhere().start();
        let mut both = h2_connections(&host);
        for h2 in &mut both {
            h2.send_headers(1, "POST", "/head", false);
        }
        host.wait_log_nth(says::GATE_STARTED, 2);
        stop(&host);
        for h2 in &mut both {
            h2.send_data(1, b"", true);
            assert_eq!(h2.expect_answer(1).body, b"done\n");
            h2.expect_fin();
        }
        drop(both);
        assert_eq!(expect_clean_exit(host).finished, 3);
    }
}

/// W12. Frames of the peer that nobody has read make a close a reset, and a reset erases bytes.
#[test]
fn last_bytes_of_an_answer_reach_a_peer_that_keeps_sending() {
    for guest in ["big_p2", "big_p3"] {
        let host = Host::serve(guest).everywhere().start();
        let mut both = h2_connections(&host);
        for h2 in &mut both {
            h2.get(1, "/?kib=4096");
            assert_eq!(h2.expect_status(1), 200);
        }
        stop(&host);
        for h2 in &mut both {
            let mut whole = 0;
            loop {
                let (bytes, last) = h2.expect_data(1);
                whole += bytes.len();
                h2.conn.send(bytes_of_ping()).expect("no reset while the answer is under way");
                if last {
                    break;
                }
            }
            assert_eq!(whole, 4 << 20);
            h2.expect_fin();
        }
        drop(both);
        expect_clean_exit(host);
    }
}

fn bytes_of_ping() -> Vec<u8> {
    bytes(6, 0, 0, &[0; 8])
}

/// W10. An upload that nobody reads is under way while its answer is given.
#[test]
fn answer_to_an_upload_that_nobody_reads_is_readable_whole() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).start();
        let mut h2 = H2::connect(host.addr());
        h2.ack_pings(false);
        h2.get(1, "/");
        assert_eq!(h2.expect_answer(1).status, 200);
        host.signal(Signal::TERM);
        assert_eq!(h2.expect_goaway(), (ANY_STREAM, NO_ERROR));
        let ping = h2.expect_ping();
        h2.send_headers(3, "POST", "/", false);
        for _ in 0..4 {
            h2.send_data(3, &[b'x'; 15 << 10], false);
        }
        h2.send_ping(true, ping);
        assert_eq!(h2.expect_answer(3).body, b"ignored\n");
        h2.expect_fin();
        drop(h2);
        expect_clean_exit(host);
    }
}

/// W17. A drain is no reason to refuse.
#[test]
fn streams_during_the_drain_are_served_by_fresh_instances_and_never_refused() {
    for guest in ["leak_p2", "leak_p3"] {
        let args = ["--max-instances", "4", "--queue-timeout", "60s"];
        let host = Host::serve(guest).args(args).start();
        let mut h2 = H2::connect(host.addr());
        h2.ack_pings(false);
        h2.get(1, "/");
        let before = h2.expect_answer(1);
        assert!(before.body.windows(9).any(|nine| nine == b"count: 1\n"), "{before:?}");
        host.signal(Signal::TERM);
        assert_eq!(h2.expect_goaway(), (ANY_STREAM, NO_ERROR));
        let ping = h2.expect_ping();
        for stream in (3..40).step_by(2) {
            h2.get(stream, "/");
        }
        h2.send_ping(true, ping);
        for stream in (3..40).step_by(2) {
            let during = h2.expect_answer(stream);
            assert_eq!((during.status, &during.body), (200, &before.body));
        }
        h2.expect_fin();
        drop(h2);
        expect_clean_exit(host);
    }
}

/// A client that leaves by itself still gets what it has asked for.
#[test]
fn stream_of_a_client_that_has_sent_its_own_goaway_is_served() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).start();
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/", false);
        assert_eq!(h2.expect_status(1), 200);
        h2.send_goaway(0, NO_ERROR);
        stop(&host);
        h2.send_data(1, b"", true);
        assert_eq!(rest(&mut h2, 1), b"started\ndone\n");
        h2.expect_fin();
        drop(h2);
        assert_eq!(expect_clean_exit(host).finished, 1);
    }
}
