//! Which HTTP/2 streams are open, and how many frames come without a request, read off the frames on the
//! wire (RFC 9113 §4.1, §5.1).
//!
//! hyper's future of a stream ends when it has handed the last frame to h2, which may hold it for
//! as long as the peer gives no window. Only the wire knows that it has left.

use std::collections::BTreeSet;

/// What the client sends before its first frame.
const PREFACE: usize = 24;
const HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const HIGHEST_STREAM: u32 = 0x7fff_ffff;

/// Frames that cost us something and bring no request: PING, SETTINGS, PRIORITY, RST_STREAM, WINDOW_UPDATE,
/// empty DATA, unknown ones (RFC 9113 §10.5). A peer that sends so many without a request is told to calm
/// down.
const FRAMES_WITHOUT_A_REQUEST: u32 = 10_000;

/// Who sends or takes data has a reason for frames beside it: each frame of data lets so many go.
const FRAMES_BESIDE_DATA: u32 = 8;

/// The streams of one connection, followed in both directions.
#[derive(Debug)]
pub(super) struct Streams {
    open: BTreeSet<u32>,
    newest: u32,
    /// The last stream that is answered, once that is said.
    last: u32,
    /// Frames since the last request that brought nothing.
    idle_frames: u32,
    /// Frames of answers that the peer has taken.
    answered: u64,
    received: Frames,
    sent: Frames,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            open: BTreeSet::new(),
            newest: 0,
            last: HIGHEST_STREAM,
            idle_frames: 0,
            answered: 0,
            received: Frames { skip: PREFACE, ..Frames::default() },
            sent: Frames::default(),
        }
    }

    /// How many streams the peer has opened and not yet had the end of.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// How many frames of answers the peer has taken.
    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    /// The newest stream that the peer has opened.
    pub(super) fn newest(&self) -> u32 {
        self.newest
    }

    /// Whether the peer sends more frames without a request than anybody needs.
    pub(super) fn is_flooded(&self) -> bool {
        self.idle_frames >= FRAMES_WITHOUT_A_REQUEST
    }

    /// Whether a frame of ours may be put behind what the kernel has taken.
    pub(super) fn is_between_frames(&self) -> bool {
        self.sent.skip == 0 && self.sent.head.is_empty()
    }

    /// Takes note of bytes that the peer sent.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let Self { open, newest, last, idle_frames, received, .. } = self;
        received.read(bytes, |frame| match frame.kind {
            HEADERS if frame.stream > *newest => {
                *newest = frame.stream;
                *idle_frames = 0;
                // Streams above the last one are not answered (RFC 9113 §6.8).
                if frame.stream <= *last {
                    open.insert(frame.stream);
                }
            }
            DATA if frame.length > 0 => {
                *idle_frames = idle_frames.saturating_sub(FRAMES_BESIDE_DATA);
            }
            // h2 bounds these by itself.
            HEADERS | CONTINUATION => {}
            other => {
                *idle_frames = idle_frames.saturating_add(1);
                if other == RST_STREAM {
                    open.remove(&frame.stream);
                }
            }
        });
    }

    /// Takes note of bytes that the kernel has taken from us.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let Self { open, last, idle_frames, answered, sent, .. } = self;
        sent.read(bytes, |frame| match frame.kind {
            DATA | HEADERS => {
                *answered += 1;
                if frame.kind == DATA {
                    *idle_frames = idle_frames.saturating_sub(FRAMES_BESIDE_DATA);
                }
                if frame.flags & END_STREAM != 0 {
                    open.remove(&frame.stream);
                }
            }
            RST_STREAM => {
                open.remove(&frame.stream);
            }
            GOAWAY => {
                *last = frame.last;
                open.split_off(&(frame.last.saturating_add(1)));
            }
            _ => {}
        });
    }
}

/// What matters of a frame.
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
    /// Of GOAWAY: the last stream that is answered.
    last: u32,
}

/// Finds frames in bytes that come piece by piece.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes of payload still to be passed over.
    skip: usize,
    /// The frame's header, and of GOAWAY the first field, as far as they have come.
    head: Vec<u8>,
}

impl Frames {
    fn read(&mut self, mut bytes: &[u8], mut see: impl FnMut(Frame)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            bytes = bytes.get(skipped..).unwrap_or_default();
            self.skip -= skipped;
            let missing = self.wanted() - self.head.len();
            let taken = missing.min(bytes.len());
            self.head.extend_from_slice(bytes.get(..taken).unwrap_or_default());
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.head.len() < self.wanted() {
                if bytes.is_empty() {
                    return;
                }
                // The header has shown that more of the frame is wanted.
                continue;
            }
            if let Some(frame) = self.take_frame() {
                see(frame);
            }
        }
    }

    /// How much of the frame must be seen.
    fn wanted(&self) -> usize {
        let is_goaway = self.head.get(3) == Some(&GOAWAY) && self.head.len() >= HEADER;
        if is_goaway { HEADER + 4 } else { HEADER }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let number = |at: usize| {
            let field = self.head.get(at..at + 4)?;
            Some(u32::from_be_bytes(field.try_into().ok()?) & HIGHEST_STREAM)
        };
        let length = usize::try_from(number(0)? >> 8).ok()?;
        let frame = Frame {
            length,
            kind: *self.head.get(3)?,
            flags: *self.head.get(4)?,
            stream: number(5)?,
            last: number(HEADER).unwrap_or(HIGHEST_STREAM),
        };
        let seen = self.head.len() - HEADER;
        self.skip = length.saturating_sub(seen);
        self.head.clear();
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn streams_with(open: &[u32]) -> Streams {
        let mut streams = Streams::new();
        streams.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        streams.receive(&frame(4, 0, 0, &[]));
        for stream in open {
            streams.receive(&frame(HEADERS, 5, *stream, b"abc"));
        }
        streams
    }

    #[test]
    fn a_stream_is_open_from_its_head_until_its_end_has_left() {
        let mut streams = streams_with(&[1, 3]);
        assert_eq!(streams.open(), 2);
        streams.send(&frame(HEADERS, 4, 1, b"head"));
        streams.send(&frame(DATA, 0, 1, &[0; 5000]));
        assert_eq!(streams.open(), 2);
        streams.send(&frame(DATA, END_STREAM, 1, b""));
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
            streams.send(std::slice::from_ref(byte));
        }
        assert_eq!(streams.open(), 0, "stream 1 lies above the last one, 0");
    }

    #[test]
    fn the_first_goaway_closes_no_stream() {
        let mut streams = streams_with(&[1, 3]);
        streams.send(&frame(GOAWAY, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
        assert_eq!(streams.open(), 2);
        streams.send(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
        assert_eq!(streams.open(), 1);
    }

    /// They counted as open for ever: the stop ended with 1, and nothing was owed.
    #[test]
    fn streams_above_the_final_goaway_are_not_open() {
        let mut streams = streams_with(&[1]);
        streams.send(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
        streams.receive(&frame(HEADERS, 5, 3, b"abc"));
        assert_eq!(streams.open(), 1);
        streams.send(&frame(HEADERS, END_STREAM, 1, b""));
        assert_eq!(streams.open(), 0);
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
            streams.send(&frame(DATA, 0, 1, &[0; 5000]));
            streams.receive(&frame(8, 0, 1, &[0; 4]));
            streams.receive(&frame(8, 0, 0, &[0; 4]));
        }
        assert!(!streams.is_flooded());
    }

    #[test]
    fn trailers_of_a_request_open_nothing() {
        let mut streams = streams_with(&[1]);
        streams.send(&frame(DATA, END_STREAM, 1, b""));
        streams.receive(&frame(HEADERS, 5, 1, b"trailers"));
        assert_eq!(streams.open(), 0);
    }
}
