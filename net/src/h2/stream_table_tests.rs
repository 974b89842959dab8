//! Streams as the wire shows them, frame by frame.

use std::time::Duration;

use super::super::frames::{CONTINUE, frame};
use super::*;

fn now() -> Instant {
    Instant::now()
}

fn streams_with(open: &[u32]) -> StreamTable {
    let mut streams = StreamTable::new(NetCounts::default());
    streams.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    streams.receive(&frame(4, 0, 0, &[]));
    for stream in open {
        streams.receive(&frame(HEADERS, 5, *stream, b"abc"));
    }
    streams
}

/// A connection that had been idle for longer than a peer may stall was dropped when its next head
/// came in two pieces: half a head counted as an answer that its peer does not take.
#[test]
fn a_stream_is_open_once_its_head_is_whole() {
    let mut streams = streams_with(&[]);
    let (head, rest) = (frame(HEADERS, 1, 1, b"abc"), frame(CONTINUATION, 4, 1, b"def"));
    for (at, byte) in head.iter().chain(&rest).enumerate() {
        assert_eq!(streams.open(), 0);
        assert_eq!(streams.has_half_a_head(), at >= 9);
        streams.receive(std::slice::from_ref(byte));
    }
    assert_eq!((streams.open(), streams.newest()), (1, 1));
    assert!(!streams.has_half_a_head());
    // In one piece with what follows.
    streams.receive(&[frame(HEADERS, 5, 3, b"abc"), frame(HEADERS, 5, 5, b"abc")].concat());
    assert_eq!((streams.open(), streams.newest()), (3, 5));
    streams.receive(&frame(HEADERS, 5, 7, b"abc")[..10]);
    assert_eq!((streams.open(), streams.newest()), (3, 5), "half of 7 is not served");
}

/// A client of a window of a MiB, which it gave back in steps of a KiB, was taken for a flood.
#[test]
fn windows_that_are_given_back_in_small_steps_are_no_flood() {
    let mut streams = streams_with(&[1]);
    for _ in 0..10_000 {
        streams.send(&frame(DATA, 0, 1, &[0; 16_384]), now());
        for _ in 0..16 {
            streams.receive(&frame(8, 0, 1, &[0; 4]));
            streams.receive(&frame(8, 0, 0, &[0; 4]));
        }
    }
    assert!(!streams.is_flooded());
}

/// Another stream's progress was the progress of all.
#[test]
fn each_stream_has_a_rate_of_its_own_and_what_it_gave_is_counted_on_the_wire() {
    let mut streams = streams_with(&[1, 3]);
    let progress = [Arc::new(SendProgress::default()), Arc::new(SendProgress::default())];
    assert_eq!(progress.each_ref().map(|progress| streams.call(progress)), [Some(1), Some(3)]);
    let (stall, began) = (Duration::from_secs(30), now());
    let rate = || OutRate::new(stall, None);
    assert_eq!(streams.late(began, rate), Some(began + stall));
    let later = began + Duration::from_secs(20);
    streams.send(&frame(DATA, 0, 1, &[0; 500]), later);
    assert_eq!(streams.late(later, rate), Some(began + stall), "3 has taken nothing");
    streams.send(&frame(DATA, END_STREAM, 3, b"x"), later);
    assert_eq!(streams.late(later, rate), Some(later + stall));
    assert_eq!(progress.map(|progress| progress.written.load(Ordering::Acquire)), [500, 1]);
}

#[test]
fn a_stream_is_open_from_its_head_until_its_end_has_left() {
    let mut streams = streams_with(&[1, 3]);
    assert_eq!(streams.open(), 2);
    streams.send(&frame(HEADERS, 4, 1, b"head"), now());
    streams.send(&frame(DATA, 0, 1, &[0; 5000]), now());
    assert_eq!(streams.open(), 2);
    streams.send(&frame(DATA, END_STREAM, 1, b""), now());
    assert_eq!(streams.open(), 1);
    streams.receive(&frame(RST_STREAM, 0, 3, &[0; 4]));
    assert_eq!(streams.open(), 0);
}

#[test]
fn frames_that_come_byte_by_byte_say_the_same() {
    let mut streams = streams_with(&[1]);
    let mut bytes = frame(DATA, 0, 1, b"some data");
    bytes.extend(frame(GOAWAY, 0, 0, &[0; 12]));
    for byte in &bytes {
        streams.send(std::slice::from_ref(byte), now());
    }
    assert_eq!(streams.open(), 0, "stream 1 lies above the last one, 0");
}

#[test]
fn the_first_goaway_closes_no_stream() {
    let mut streams = streams_with(&[1, 3]);
    streams.send(&frame(GOAWAY, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]), now());
    assert_eq!(streams.open(), 2);
    streams.send(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]), now());
    assert_eq!(streams.open(), 1);
}

/// They counted as open for ever: the stop ended with 1, and nothing was owed.
#[test]
fn streams_above_the_final_goaway_are_not_open() {
    let mut streams = streams_with(&[1]);
    streams.send(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]), now());
    streams.receive(&frame(HEADERS, 5, 3, b"abc"));
    assert_eq!(streams.open(), 1);
    streams.send(&frame(HEADERS, END_STREAM, 1, b""), now());
    assert_eq!(streams.open(), 0);
}

/// A client that could not send, because other uploads had filled the window that all share, was told that
/// it was too slow.
#[test]
fn a_window_that_is_used_up_is_known_until_it_is_given_back() {
    let mut streams = streams_with(&[1, 3]);
    streams.send(&frame(WINDOW_UPDATE, 0, 0, &10_000_u32.to_be_bytes()), now());
    for length in [16_384, 16_384, 16_384, 16_384, 9_998] {
        streams.receive(&frame(DATA, 0, 1, &vec![0; length]));
        assert!(!streams.holds_peer_back());
    }
    streams.receive(&frame(DATA, 0, 1, b"x"));
    assert!(streams.holds_peer_back());
    streams.send(&frame(WINDOW_UPDATE, 0, 1, &10_000_u32.to_be_bytes()), now());
    assert!(streams.holds_peer_back(), "that is the stream's own");
    streams.send(&frame(WINDOW_UPDATE, 0, 0, &10_000_u32.to_be_bytes()), now());
    assert!(!streams.holds_peer_back());
}

/// 750,000 of them went through on one connection.
#[test]
fn frames_without_a_request_are_bounded_whatever_they_are() {
    for (kind, payload) in
        [(2, &[0; 5][..]), (4, &[]), (6, &[0; 8]), (8, &[0; 4]), (0x42, b"x"), (DATA, &[])]
    {
        let mut streams = streams_with(&[]);
        let mut sent = 1;
        while !streams.is_flooded() {
            streams.receive(&frame(kind, 0, 1, payload));
            sent += 1;
        }
        assert_eq!(sent, FRAMES_WITHOUT_A_REQUEST, "of kind {kind}");
    }
}

#[test]
fn frames_beside_requests_and_data_are_no_flood() {
    let mut streams = streams_with(&[]);
    for stream in 0..FRAMES_WITHOUT_A_REQUEST {
        streams.receive(&frame(HEADERS, 5, 2 * stream + 1, b"abc"));
        streams.receive(&frame(6, 0, 0, &[0; 8]));
    }
    for _ in 0..FRAMES_WITHOUT_A_REQUEST {
        streams.send(&frame(DATA, 0, 1, &[0; 5000]), now());
        streams.receive(&frame(8, 0, 1, &[0; 4]));
        streams.receive(&frame(8, 0, 0, &[0; 4]));
    }
    assert!(!streams.is_flooded());
}

#[test]
fn trailers_of_a_request_open_nothing() {
    let mut streams = streams_with(&[1]);
    streams.send(&frame(DATA, END_STREAM, 1, b""), now());
    streams.receive(&frame(HEADERS, 5, 1, b"trailers"));
    assert_eq!(streams.open(), 0);
}

/// The blocks of h2's answer, after RFC 7541: `:status: 431` with a name of the table, plain or short, kept or not, or
/// from the table; behind sizes of the table.
const BARE: [&[u8]; 6] = [
    b"\x48\x03431",
    b"\x08\x83\x68\xcc\x3f",
    b"\x20\x08\x03431",
    b"\xbe",
    b"\xff\x80\x01",
    b"\x3f\xe1\x1f\xbe",
];

/// More than a status: another field, of the table or not, or none at all.
const OTHERS: [&[u8]; 6] =
    [b"\x48\x03431\xbe", b"\xbf\xbe", b"\x08\x03431\x0f\x0d\x010", b"\x54\x012", b"\x20", b""];

#[test]
fn an_answer_that_is_only_a_status_is_one_of_h2() {
    const WHOLE: u8 = END_STREAM | END_HEADERS;
    let answered = |flags: u8, block: &[u8]| {
        let mut streams = streams_with(&[1]);
        // However the kernel takes it.
        for byte in frame(HEADERS, flags, 1, block) {
            streams.send(&[byte], now());
        }
        (streams.take_answered_by_h2(), streams.take_answered_by_h2(), streams.open())
    };
    for block in BARE {
        assert_eq!(answered(WHOLE, block), (1, 0, 0), "{block:02x?}");
        assert_eq!(answered(END_HEADERS, block), (0, 0, 1), "{block:02x?}, and a body");
    }
    for block in OTHERS {
        assert_eq!(answered(WHOLE, block), (0, 0, 0), "{block:02x?}");
    }
    let mut streams = streams_with(&[1]);
    streams.send(&frame(HEADERS, END_HEADERS, 1, b"\x88\xbe"), now());
    streams.send(&frame(HEADERS, WHOLE, 1, b"\xbe"), now());
    assert_eq!(streams.take_answered_by_h2(), 0, "trailers");
}

/// h2 answers 431 itself where a head is too large, and nobody was told of those requests: they stood in no log and no
/// metric.
#[test]
fn an_answer_for_which_the_service_was_not_called_is_that_of_h2() {
    let mut streams = streams_with(&[1, 3, 5]);
    streams.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x48\x03431"), now());
    assert_eq!(streams.take_answered_by_h2(), 1);
    assert_eq!(streams.take_answered_by_h2(), 0, "told once");
    let progress = Arc::new(SendProgress::default());
    assert_eq!(streams.call(&progress), Some(3), "the next one");
    streams.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x89\xbf"), now());
    streams.send(&frame(RST_STREAM, 0, 5, &[0; 4]), now());
    assert_eq!(streams.take_answered_by_h2(), 0, "an answer of the service, and no answer");
}

/// Where the kernel takes nothing, the service is called for 3 before what h2 has said on 1 can be seen: then the answer
/// on 3 was taken for one of h2, and a request that there was not was in the log.
#[test]
fn an_answer_is_one_of_h2_by_what_it_says_and_not_by_its_stream() {
    let ends = END_HEADERS | END_STREAM;
    for (of_h2, answered) in [
        (frame(RST_STREAM, 0, 1, &1_u32.to_be_bytes()), 0),
        (frame(HEADERS, ends, 1, b"\x48\x03431"), 1),
    ] {
        let mut streams = streams_with(&[1, 3]);
        assert_eq!(streams.call(&Arc::new(SendProgress::default())), Some(1), "3 is meant");
        streams.send(&of_h2, now());
        streams.send(&frame(HEADERS, ends, 3, b"\x89\xbf"), now());
        assert_eq!(streams.take_answered_by_h2(), answered);
    }
}

#[test]
fn what_the_host_breaks_off_is_counted_by_its_code() {
    let mut streams = streams_with(&[1, 3, 5]);
    let code = |code: u32| code.to_be_bytes();
    streams.send(&frame(RST_STREAM, 0, 1, &code(1)), now());
    // Behind its answer, whose rest nobody wants.
    streams.send(&frame(HEADERS, END_STREAM | END_HEADERS, 3, b"\x88\xbe"), now());
    streams.send(&frame(RST_STREAM, 0, 3, &code(0)), now());
    streams.send(&frame(RST_STREAM, 0, 5, &code(7)), now());
    streams.send(&frame(GOAWAY, 0, 0, &[code(5), code(11)].concat()), now());
    let some = |all: [(&'static str, u64); 14]| -> Vec<_> {
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    };
    let counts = &streams.counts;
    assert_eq!(some(counts.resets()), [("PROTOCOL_ERROR", 1), ("REFUSED_STREAM", 1)]);
    assert_eq!(some(counts.goaways()), [("ENHANCE_YOUR_CALM", 1)]);
}

/// Rapid Reset, spread so that h2 found none of them waiting, went on for ever.
#[test]
fn requests_that_are_taken_back_are_bounded_by_those_that_are_answered() {
    let (take_back, get) = (frame(RST_STREAM, 0, 1, &[0; 4]), frame(HEADERS, 5, 1, b"abc"));
    let mut streams = streams_with(&[]);
    let mut stream = 1;
    let mut ask = |streams: &mut StreamTable, then: &[u8]| {
        let of = |bytes: &[u8]| [&bytes[..5], &u32::to_be_bytes(stream), &bytes[9..]].concat();
        streams.receive(&of(&get));
        let answer = frame(HEADERS, END_HEADERS, stream, b"head");
        match then {
            [] => streams.send(&frame(HEADERS, 5, stream, b"whole answer"), now()),
            b"events" => {
                streams.send(&answer, now());
                streams.receive(&of(&take_back));
            }
            _ => streams.receive(&of(&take_back)),
        }
        stream += 2;
    };
    for _ in 0..2 * TAKEN_BACK {
        ask(&mut streams, b"events");
        ask(&mut streams, b"");
        ask(&mut streams, b"taken back");
    }
    assert!(!streams.takes_requests_back(), "one answer for each; a stream of events has one");
    // One is left of before.
    for taken_back in 1..2 * TAKEN_BACK {
        assert_eq!(streams.takes_requests_back(), taken_back >= TAKEN_BACK);
        assert!(!streams.is_flooded());
        ask(&mut streams, b"taken back");
    }
    assert!(streams.is_flooded());
}

/// Whoever had the host ask for the body of each request, and reset it then, was never bounded: the question counted as
/// an answer.
#[test]
fn a_request_that_is_asked_for_its_body_has_no_answer_yet() {
    let mut streams = streams_with(&[]);
    for number in 0..2 * TAKEN_BACK {
        assert_eq!(streams.takes_requests_back(), number >= TAKEN_BACK, "{number}");
        let stream = 2 * number + 1;
        streams.receive(&frame(HEADERS, END_HEADERS, stream, b"abc"));
        // With the size of a table in front, now and then.
        let sizes: &[u8] = if number % 2 == 0 { b"" } else { b"\x20\x3f\x9a\x0a" };
        let asks = frame(HEADERS, END_HEADERS, stream, &[sizes, CONTINUE].concat());
        streams.send(&asks, now());
        assert!(!streams.waits_to_be_asked(stream));
        streams.receive(&frame(RST_STREAM, 0, stream, &[0; 4]));
    }
    assert!(streams.is_flooded());
    assert_eq!(streams.answered_by_h2, 0);
}
