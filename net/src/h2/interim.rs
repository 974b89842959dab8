//! `100 Continue` over HTTP/2 (RFC 9110 §10.1.1). hyper has no way to send it there, so it is put between two
//! of its frames, where the streams say that it may be.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};

use super::frames::{CONTINUE, END_HEADERS, HEADERS, frame};
use super::stream_table::StreamTable;

/// What is to be said on one connection beside hyper.
#[derive(Debug, Default)]
pub(super) struct Interim {
    /// Streams whose peer waits until it is asked for a body.
    asked: VecDeque<u32>,
    /// What the kernel has not taken of a frame that has begun.
    rest: Bytes,
}

impl Interim {
    /// The body of this stream's request is wanted.
    pub(super) fn ask(&mut self, stream: u32) {
        self.asked.push_back(stream);
    }

    /// The bytes that are next on the wire, before any of hyper's; empty if they are hyper's.
    pub(super) fn next(&mut self, streams: &StreamTable) -> Bytes {
        while self.rest.is_empty() && !self.asked.is_empty() && streams.may_begin_a_block() {
            if let Some(stream) = self.asked.pop_front()
                && streams.waits_to_be_asked(stream)
            {
                self.rest = frame_for(stream, streams.small_table());
            }
        }
        self.rest.clone()
    }

    /// The kernel has taken so many of them.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.rest.advance(bytes);
    }
}

/// HEADERS on `stream`, which begin with the size of a table that has become small.
fn frame_for(stream: u32, small_table: Option<u32>) -> Bytes {
    let mut block = small_table.map(table_size).unwrap_or_default();
    block.extend_from_slice(CONTINUE);
    frame(HEADERS, END_HEADERS, stream, &block).into()
}

/// Says the size of the table (RFC 7541 §5.1, §6.3).
fn table_size(size: u32) -> Vec<u8> {
    const MOST: u32 = 31;
    if size < MOST {
        return vec![0x20 | low(size)];
    }
    let mut bytes = vec![0x3f];
    let mut rest = size - MOST;
    while rest >= 0x80 {
        bytes.push(0x80 | low(rest));
        rest >>= 7;
    }
    bytes.push(low(rest));
    bytes
}

fn low(number: u32) -> u8 {
    number.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::counts::NetCounts;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// A peer that has sent the heads of these requests, and their bodies not yet.
    fn peer_of(streams: &[u32], settings: &[u8]) -> StreamTable {
        let mut peer = StreamTable::new(NetCounts::default());
        peer.receive(PREFACE);
        peer.receive(&frame(4, 0, 0, settings));
        peer.send(&frame(4, 0, 0, &[]), Instant::now());
        for stream in streams {
            peer.receive(&frame(HEADERS, END_HEADERS, *stream, b"abc"));
        }
        peer
    }

    fn asked(streams: &[u32]) -> Interim {
        Interim { asked: streams.iter().copied().collect(), rest: Bytes::new() }
    }

    #[test]
    fn each_one_who_waits_is_asked_once() {
        let peer = peer_of(&[1, 3], &[]);
        let mut interim = asked(&[3, 1]);
        for stream in [3, 1] {
            let bytes = interim.next(&peer);
            assert_eq!(bytes, frame(HEADERS, END_HEADERS, stream, b"\x08\x03100"));
            interim.wrote(2);
            // The kernel has taken two bytes: the others are next, whatever else may be said.
            assert_eq!(interim.next(&peer), bytes.slice(2..));
            interim.wrote(bytes.len() - 2);
        }
        assert!(interim.next(&peer).is_empty());
    }

    #[test]
    fn nobody_is_asked_who_has_sent_something_or_is_answered_or_gone() {
        let said: [fn(&mut StreamTable); 5] = [
            |peer| peer.receive(&frame(0, 0, 1, b"data")),
            |peer| peer.receive(&frame(0, 1, 1, b"")),
            |peer| peer.receive(&frame(3, 0, 1, &[0; 4])),
            |peer| peer.send(&frame(HEADERS, END_HEADERS, 1, b"head"), Instant::now()),
            |peer| peer.send(&frame(3, 0, 1, &[0; 4]), Instant::now()),
        ];
        for says in said {
            let mut peer = peer_of(&[1], &[]);
            says(&mut peer);
            assert!(asked(&[1]).next(&peer).is_empty());
        }
    }

    #[test]
    fn nothing_is_put_into_a_frame_or_a_head_that_goes_on() {
        let mut peer = peer_of(&[1, 3], &[]);
        let mut interim = asked(&[1]);
        let data = frame(0, 0, 3, b"data");
        peer.send(&data[..11], Instant::now());
        assert!(interim.next(&peer).is_empty());
        peer.send(&data[11..], Instant::now());
        peer.send(&frame(HEADERS, 0, 3, b"half a head"), Instant::now());
        assert!(interim.next(&peer).is_empty());
        peer.send(&frame(9, END_HEADERS, 3, b"and its end"), Instant::now());
        assert!(!interim.next(&peer).is_empty());
    }

    /// A decoder that has made its table smaller takes a head that does not say so for an error of the
    /// whole connection.
    #[test]
    fn a_table_that_has_become_small_is_said_once_its_settings_are_acknowledged() {
        for (size, said) in
            [(0, &b"\x20"[..]), (30, b"\x3e"), (31, b"\x3f\x00"), (1337, b"\x3f\x9a\x0a")]
        {
            let setting = [&[0, 1][..], &u32::to_be_bytes(size)].concat();
            let mut peer = peer_of(&[1, 3], &setting);
            let mut interim = asked(&[1, 3]);
            assert!(interim.next(&peer).is_empty(), "not acknowledged yet");
            peer.send(&frame(4, 1, 0, &[]), Instant::now());
            let first = interim.next(&peer);
            assert_eq!(first[9..], [said, CONTINUE].concat(), "{size}");
            peer.send(&first, Instant::now());
            interim.wrote(first.len());
            assert_eq!(interim.next(&peer)[9..], *CONTINUE, "once");
        }
    }
}
