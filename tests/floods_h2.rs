//! Floods over HTTP/2, as bytes, plain and over TLS: what each is answered with, after how many frames at most. Meanwhile
//! others are served, memory is flat, and the stop afterwards is clean. (PRIORITY, SETTINGS and unknown frames: `hostile_wire.rs`.)

use crate::support::flood::{Victim, block, frame, get, opened, post, round_trip};
use crate::support::h2frame::{
    CONTINUATION, DATA, ENHANCE_YOUR_CALM, FIRST_WINDOW, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR,
    GOAWAY, HEADERS, MAX_WINDOW, PING, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM,
    SETTINGS, WINDOW_UPDATE,
};
use crate::support::h2raw::fields;
use crate::support::hpack;
use crate::support::prelude::*;

const GOOD: &str = "/good";

/// The code of the GOAWAY that `bytes` are answered with. The connection ends with it.
#[track_caller]
fn goaway_for(at: &Target, bytes: &[u8]) -> u32 {
    let mut h2 = opened(at);
    h2.conn.send(bytes).expect("it reads on for a while");
    let (_, code) = h2.expect_goaway();
    h2.expect_fin();
    code
}

/// The number that each of the `count` frames or groups of frames has, as a stream that was not opened before.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 9 + 2 * number)
}

/// What is an error of the connection is one at the first frame.
#[test]
fn frame_that_breaks_the_protocol_ends_the_connection_at_once() {
    let max = MAX_WINDOW.to_be_bytes();
    let head = block("GET", GOOD);
    let half = frame(HEADERS, 1, 9, &head);
    let settings = |id: u8, value: u32| [&[0, id][..], &value.to_be_bytes()].concat();
    let cases = [
        ("a window of nothing for a stream", frame(WINDOW_UPDATE, 0, 3, [0; 4]), PROTOCOL_ERROR),
        ("a window of nothing for all", frame(WINDOW_UPDATE, 0, 0, [0; 4]), PROTOCOL_ERROR),
        ("a window for all above 2^31", frame(WINDOW_UPDATE, 0, 0, max), FLOW_CONTROL_ERROR),
        ("a window for no stream", frame(WINDOW_UPDATE, 0, 99, [0, 0, 0, 1]), PROTOCOL_ERROR),
        ("PRIORITY of four bytes", frame(PRIORITY, 0, 3, [0; 4]), PROTOCOL_ERROR),
        ("DATA behind the end", frame(DATA, 0, 7, b"x"), PROTOCOL_ERROR),
        ("HEADERS behind the end", frame(HEADERS, 5, 7, &head), PROTOCOL_ERROR),
        ("a stream again", frame(HEADERS, 5, 1, &head), PROTOCOL_ERROR),
        ("a lower stream", frame(HEADERS, 5, 5, &head), PROTOCOL_ERROR),
        ("an even stream", frame(HEADERS, 5, 10, &head), PROTOCOL_ERROR),
        ("stream 0", frame(HEADERS, 5, 0, &head), PROTOCOL_ERROR),
        ("DATA for no stream", frame(DATA, 0, 99, b"x"), PROTOCOL_ERROR),
        ("more padding than DATA", frame(DATA, 8, 3, [5]), PROTOCOL_ERROR),
        ("a reset of no stream", frame(RST_STREAM, 0, 99, [0; 4]), PROTOCOL_ERROR),
        ("a reset of three bytes", frame(RST_STREAM, 0, 3, [0; 3]), PROTOCOL_ERROR),
        ("PING of seven bytes", frame(PING, 0, 0, [0; 7]), PROTOCOL_ERROR),
        ("SETTINGS of five bytes", frame(SETTINGS, 0, 0, [0; 5]), PROTOCOL_ERROR),
        ("windows of 2^31", frame(SETTINGS, 0, 0, settings(4, 1 << 31)), PROTOCOL_ERROR),
        ("SETTINGS taken that were not sent", frame(SETTINGS, 1, 0, []), PROTOCOL_ERROR),
        ("a push", frame(PUSH_PROMISE, 4, 3, [&[0, 0, 0, 2][..], &head].concat()), PROTOCOL_ERROR),
        ("a frame of 16,385 bytes", frame(DATA, 0, 3, [0; 16_385]), FRAME_SIZE_ERROR),
        ("CONTINUATION of nothing", frame(CONTINUATION, 4, 3, &head), PROTOCOL_ERROR),
        ("PING inside a head", [half.clone(), frame(PING, 0, 0, [0; 8])].concat(), PROTOCOL_ERROR),
        (
            "CONTINUATION of another",
            [half, frame(CONTINUATION, 4, 11, [])].concat(),
            PROTOCOL_ERROR,
        ),
        (
            "a name in capitals",
            frame(HEADERS, 5, 9, hpack::encode(&[(":method", "GET"), ("X", "x")])),
            PROTOCOL_ERROR,
        ),
        ("a field that is in no table", frame(HEADERS, 5, 9, [0xff, 0xff, 0x0f]), PROTOCOL_ERROR),
        (
            "a table above the setting",
            frame(HEADERS, 5, 9, [0x3f, 0xe1, 0xff, 0x03]),
            PROTOCOL_ERROR,
        ),
    ];
    let victim = Victim::with("sleep_p2");
    victim.withstands_on_each("frames that break the protocol", |at| {
        for (what, bytes, code) in &cases {
            assert_eq!(goaway_for(at, bytes), *code, "{what}");
        }
    });
    victim.expect_clean_stop();
}

/// What is an error of a stream is one so many times: Rapid Reset (CVE-2023-44487) and MadeYouReset (CVE-2025-8671), where
/// we are the ones who reset.
#[test]
fn resets_that_a_peer_sends_or_provokes_are_bounded() {
    let depends_on_itself = |stream: u32| [&stream.to_be_bytes()[..], &[16]].concat();
    let of_connection = [block("GET", GOOD), hpack::encode(&[("connection", "close")])].concat();
    let reset = |stream| frame(RST_STREAM, 0, stream, [0, 0, 0, 8]);
    let overflow = frame(WINDOW_UPDATE, 0, 0, MAX_WINDOW.to_be_bytes());
    let overflow = |stream: u32| [&overflow[..5], &stream.to_be_bytes(), &overflow[9..]].concat();
    type Make<'a> = &'a dyn Fn(u32) -> Vec<u8>;
    let cases: [(&str, u32, Make<'_>); 7] = [
        ("resets of requests that wait", 21, &|stream| [get(stream), reset(stream)].concat()),
        ("windows of streams above 2^31", 101, &|stream| [post(stream), overflow(stream)].concat()),
        ("PRIORITY on itself", 101, &|stream| {
            frame(PRIORITY, 0, stream, depends_on_itself(stream))
        }),
        ("HEADERS that depend on themselves", 101, &|stream| {
            frame(HEADERS, 0x25, stream, [depends_on_itself(stream), block("GET", GOOD)].concat())
        }),
        ("heads that are malformed", 101, &|stream| frame(HEADERS, 5, stream, &of_connection)),
        ("lengths that are not kept", 101, &|stream| {
            let lies = [("content-length", "1")];
            let lies = [fields("POST", GOOD), lies.to_vec()].concat();
            let head = frame(HEADERS, 4, stream, hpack::encode(&lies));
            [head, frame(DATA, 0, stream, b"more")].concat()
        }),
        ("streams above their limit", 2 + 98 + 101, &get),
    ];
    let victim = Victim::with("sleep_p2");
    for (what, at_most, make) in cases {
        victim.withstands_on_each(what, |at| {
            let bytes: Vec<u8> = streams(at_most).flat_map(make).collect();
            assert_eq!(goaway_for(at, &bytes), ENHANCE_YOUR_CALM, "{what}");
        });
    }
    victim.withstands_on_each("trailers that are not the end", |at| {
        let trailers = |stream| frame(HEADERS, 4, stream, hpack::encode(&[("x", "not the end")]));
        let mut h2 = opened(at);
        h2.conn.send(trailers(3)).expect("it reads on");
        assert_eq!(h2.expect_rst(3), PROTOCOL_ERROR);
        let all = streams(101).flat_map(|stream| [post(stream), trailers(stream)].concat());
        h2.conn.send(all.collect::<Vec<_>>()).expect("it reads on for a while");
        let (_, code) = h2.expect_goaway();
        assert!([PROTOCOL_ERROR, ENHANCE_YOUR_CALM].contains(&code), "{code}");
        h2.expect_fin();
    });
    victim.expect_clean_stop();
}

/// Fewer than twenty at once, whose guests are at work by then: each had a guest started, without an end. Their bodies
/// are asked for, which is no answer.
#[test]
fn requests_that_are_taken_back_one_after_the_other_are_bounded() {
    let expects = [("content-length", "4"), ("expect", "100-continue")];
    let head = hpack::encode(&[fields("POST", "/bad/count"), expects.to_vec()].concat());
    let victim = Victim::with("reader_p2");
    // Who answers the PING behind the first GOAWAY is told by the second which request was the last.
    // It may do so before the next round is at work, or behind it.
    for (acks_pings, bound, expected) in
        [(true, 500..=510, NO_ERROR), (false, 1000..=1000, ENHANCE_YOUR_CALM)]
    {
        victim.withstands_on_each("requests that are taken back", |at| {
            let mut h2 = H2::connect_with_window(at, FIRST_WINDOW);
            h2.ack_pings(acks_pings);
            let (mut taken_back, mut next) = (0, 1);
            let code = loop {
                let round: Vec<u32> = (0..10).map(|number| next + 2 * number).collect();
                next += 20;
                let heads = round.iter().flat_map(|stream| frame(HEADERS, 4, *stream, &head));
                h2.conn.send(heads.collect::<Vec<_>>()).ok();
                let asked_or_last = |stream: &u32| {
                    h2.wait("question for a body, or the last GOAWAY", |frame| match frame {
                        Frame::Headers { stream: of, status: Some(100), .. } if of == stream => {
                            Some(None)
                        }
                        Frame::GoAway { last, code } => {
                            (*last != ANY_STREAM).then_some(Some(*code))
                        }
                        _ => None,
                    })
                };
                if let Some(code) = round.iter().find_map(asked_or_last) {
                    break code;
                }
                let resets = round.iter().flat_map(|stream| frame(RST_STREAM, 0, *stream, [0; 4]));
                h2.conn.send(resets.collect::<Vec<_>>()).ok();
                taken_back += 10;
            };
            assert!(bound.contains(&taken_back), "{taken_back} were taken back: {acks_pings}");
            assert_eq!(code, expected, "{acks_pings}");
        });
    }
    victim.expect_clean_stop();
}

/// Frames that cost work and bring nothing.
#[test]
fn frames_that_bring_nothing_are_bounded() {
    let to_and_fro = |number: u32| {
        let window = if number.is_multiple_of(2) { 0 } else { 65_535_u32 };
        frame(SETTINGS, 0, 0, [&[0, 4][..], &window.to_be_bytes()].concat())
    };
    let mut padding = vec![0; 256];
    padding[0] = 255;
    type Make<'a> = &'a dyn Fn(u32) -> Vec<u8>;
    let cases: [(&str, u32, Make<'_>); 10] = [
        ("PING", 10_000, &|_| frame(PING, 0, 0, [0; 8])),
        ("answers to no PING", 10_000, &|_| frame(PING, 1, 0, [0; 8])),
        ("SETTINGS to and fro", 10_000, &to_and_fro),
        ("windows of one byte", 10_000, &|_| frame(WINDOW_UPDATE, 0, 7, [0, 0, 0, 1])),
        ("windows of a stream that is over", 10_000, &|_| frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 1])),
        ("resets of a stream that is over", 10_000, &|_| frame(RST_STREAM, 0, 1, [0; 4])),
        ("GOAWAY", 10_000, &|_| frame(GOAWAY, 0, 0, [0; 8])),
        ("empty DATA", 101, &|_| frame(DATA, 0, 3, [])),
        ("DATA of padding", 101, &|_| frame(DATA, 8, 3, &padding)),
        ("DATA of one byte that nobody reads", 2_100, &|_| frame(DATA, 0, 3, b"x")),
    ];
    let victim = Victim::with("sleep_p2");
    for (what, at_most, make) in cases {
        victim.withstands_on_each(what, |at| {
            let bytes: Vec<u8> = (0..at_most).flat_map(make).collect();
            assert_eq!(goaway_for(at, &bytes), ENHANCE_YOUR_CALM, "{what}");
        });
    }
    victim.expect_clean_stop();
}

/// The CONTINUATION flood (CVE-2024-27316), and fields that are small on the wire only.
#[test]
fn heads_that_do_not_end_or_swell_are_bounded() {
    let begin = |block: &[u8]| frame(HEADERS, 1, 9, block);
    let go_on = |block: &[u8], count: usize| frame(CONTINUATION, 0, 9, block).repeat(count);
    let fields = hpack::encode(&[("x-many", "v")]).repeat(1000);
    // An entry of the table that is as large as that may be, and references to it of a byte each.
    let entry = |times: usize| {
        let large = ["v"; 3900].concat();
        let mut entry = vec![0x40, 1, b'x', 0x7f, 0xbd, 0x1d];
        assert_eq!(3900 - 127, 0x3d + (0x1d << 7));
        entry.extend(large.as_bytes());
        [block("GET", GOOD), entry, vec![0xbe; times]].concat()
    };
    let cases = [
        ("CONTINUATION", [begin(&block("GET", GOOD)), go_on(&fields, 6)].concat()),
        ("empty CONTINUATION", [begin(&block("GET", GOOD)), go_on(&[], 6)].concat()),
        ("12,000 references to one field", frame(HEADERS, 5, 9, entry(12_000))),
    ];
    let victim = Victim::with("sleep_p2");
    for (what, bytes) in cases {
        victim.withstands_on_each(what, |at| {
            for _ in 0..5 {
                assert_eq!(goaway_for(at, &bytes), ENHANCE_YOUR_CALM, "{what}");
            }
        });
    }
    victim.withstands_on_each("heads above the limit, and new sizes of the table", |at| {
        let mut h2 = opened(at);
        for number in 0..200_u32 {
            let stream = 9 + 4 * number;
            h2.send_frame(HEADERS, 5, stream, &entry(10));
            assert_eq!(h2.expect_status(stream), 431);
            let sizes = [0x20, 0x3f, 0xe1, 0x1f].repeat(2500);
            h2.send_frame(HEADERS, 5, stream + 2, &[sizes, block("GET", GOOD)].concat());
            assert_eq!(h2.expect_status(stream + 2), 200);
        }
    });
    victim.withstands_on_each("cookies in crumbs", |at| {
        let mut h2 = opened(at);
        let crumbs = |count| {
            let head = [block("GET", GOOD), hpack::encode(&[("cookie", "a=b")]).repeat(count)];
            frame(HEADERS, 5, if count < 1000 { 9 } else { 11 }, head.concat())
        };
        h2.conn.send([crumbs(700), crumbs(1300)].concat()).expect("it reads");
        assert_eq!((h2.expect_status(9), h2.expect_status(11)), (200, 431));
    });
    victim.expect_clean_stop();
}

/// What a peer of HTTP/2 may do that looks like an attack, and is answered.
#[test]
fn odd_peers_that_break_nothing_are_served() {
    let victim = Victim::with("echo_p2");
    victim.withstands_on_each("one byte at a time, both ways", |at| {
        let mut h2 = H2::connect_with_window(at, 1);
        h2.send_headers(1, "POST", "/bad", false);
        let mut got = Vec::new();
        for number in 0..3000_u32 {
            h2.send_data(1, b"x", number == 2999);
            if got.is_empty() {
                assert_eq!(h2.expect_status(1), 200);
            }
            let (bytes, _) = h2.expect_data(1);
            h2.send_window_update(1, 1);
            got.extend(bytes);
        }
        assert_eq!(got.len(), 3000);
    });
    victim.withstands_on_each("a window that comes and goes", |at| {
        let mut h2 = H2::connect_with_window(at, 0);
        h2.get(1, GOOD);
        assert_eq!(h2.expect_status(1), 200);
        for number in 0..2000_u32 {
            let window = [12_u32, 0][number as usize % 2];
            h2.send_frame(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat());
        }
        h2.send_frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 12]);
        assert_eq!(h2.expect_data(1).0, b"hello world\n");
    });
    victim.withstands_on_each("GOAWAY, and a request behind it", |at| {
        let mut h2 = opened(at);
        h2.send_goaway(0, NO_ERROR);
        h2.get(9, GOOD);
        assert_eq!(h2.expect_status(9), 200);
        h2.send_data(3, b"", true);
        h2.expect_fin();
    });
    victim.withstands_on_each("an upgrade, which is not followed", |at| {
        let mut conn = Conn::connect(at).unwrap();
        let upgrade =
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk";
        conn.send(format!("GET {GOOD} HTTP/1.1\r\nHost: t\r\n{upgrade}\r\n\r\n")).unwrap();
        assert_eq!(conn.read_response("GET").unwrap().status(), 200);
        assert_eq!(conn.get(GOOD).unwrap().status(), 200);
    });
    victim.expect_clean_stop();
}

/// 100 streams that are opened and left.
#[test]
fn streams_that_are_never_ended_hold_up_nobody_else() {
    let victim = Victim::with("sleep_p2");
    victim.withstands_on_each("streams that are never ended", |at| {
        let mut all = Vec::new();
        for _ in 0..2 {
            let mut h2 = opened(at);
            h2.conn.send(streams(98).flat_map(post).collect::<Vec<_>>()).expect("it reads");
            round_trip(&mut h2);
            // The next one is refused, and may be sent again.
            let next = 9 + 2 * 98;
            h2.conn.send(get(next)).expect("it reads");
            assert_eq!(h2.expect_rst(next), REFUSED_STREAM);
            all.push(h2);
        }
        assert_eq!(Conn::connect(at).unwrap().get(GOOD).unwrap().status(), 200);
    });
    victim.expect_clean_stop();
}
