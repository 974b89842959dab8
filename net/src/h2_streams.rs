//! Which HTTP/2 streams are open, how much of their answers has left, and how many frames come without a
//! request, read off the frames on the wire (RFC 9113 §4.1, §5.1).
//!
//! hyper's future of a stream ends when it has handed the last frame to h2, which may hold it for
//! as long as the peer gives no window. Only the wire knows that it has left.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::Instant;

use super::h2_frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS,
    HIGHEST_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, number,
};
use super::out_rate::OutRate;

/// The setting of the largest table of fields that a peer keeps, and its default (RFC 9113 §6.5.2).
const TABLE_SIZE: u16 = 1;
const USUAL_TABLE_SIZE: u32 = 4096;

/// What a connection may carry to us before we say more (RFC 9113 §6.9.2).
const FIRST_WINDOW: i64 = 65_535;

/// Frames that cost us something and bring no request: PING, SETTINGS, PRIORITY, RST_STREAM, WINDOW_UPDATE,
/// empty DATA, unknown ones (RFC 9113 §10.5). A peer that sends so many without a request is told to calm
/// down.
const FRAMES_WITHOUT_A_REQUEST: u32 = 10_000;

/// Who sends or takes data has a reason for frames beside it: each frame of data lets so many go, or one for
/// each so many bytes.
const FRAMES_BESIDE_DATA: u32 = 8;
const BYTES_BESIDE_A_FRAME: usize = 256;

/// The streams of one connection, followed in both directions.
#[derive(Debug)]
pub(super) struct Streams {
    open: BTreeMap<u32, Open>,
    /// Those for which the service has not been called yet.
    uncalled: VecDeque<u32>,
    /// A request whose head has not come whole.
    half: Option<Half>,
    /// Of which a frame has come.
    newest_seen: u32,
    /// Of which the head has come.
    newest: u32,
    /// The last stream that is answered, once that is said.
    last: u32,
    /// Frames since the last request that brought nothing.
    idle_frames: u32,
    received: Frames,
    sent: Frames,
    /// Bytes that all uploads together may still bring.
    window: i64,
    /// A head of ours goes on in the next frame.
    in_a_block: bool,
    /// The peer's table of fields has become so small, which our next head has to say (RFC 7541 §4.2).
    small_table: Option<u32>,
    /// Settings of the peer that are not acknowledged: what they say does not hold yet.
    unacknowledged: u32,
}

/// A stream that the peer has opened, and not yet had the end of.
#[derive(Debug)]
struct Open {
    said: Said,
    /// What its answer has given.
    given: Option<Arc<Given>>,
    /// Of an answer that was handed over whole.
    rate: Option<OutRate>,
}

/// What has been said on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// The head of a request, behind which a body may come.
    Head,
    /// More.
    More,
}

#[derive(Clone, Copy, Debug)]
struct Half {
    stream: u32,
    said: Said,
    /// Its last frame has begun.
    ends: bool,
}

/// What a response body has given to its stream, and how far it has come.
#[derive(Debug)]
pub(super) struct Given {
    /// Whether hyper has asked for more than what was given last.
    pub(super) taken: AtomicBool,
    /// Bytes that the body has given.
    pub(super) bytes: AtomicU64,
    /// Bytes that the kernel has taken.
    pub(super) written: AtomicU64,
}

impl Default for Given {
    fn default() -> Self {
        let (bytes, written) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { taken: AtomicBool::new(true), bytes, written }
    }
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            open: BTreeMap::new(),
            uncalled: VecDeque::new(),
            half: None,
            newest_seen: 0,
            newest: 0,
            last: HIGHEST_STREAM,
            idle_frames: 0,
            received: Frames::behind_a_preface(),
            sent: Frames::default(),
            window: FIRST_WINDOW,
            in_a_block: false,
            small_table: None,
            unacknowledged: 0,
        }
    }

    /// How many streams the peer has opened and not yet had the end of.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether part of a request's head is here.
    pub(super) fn has_half_a_head(&self) -> bool {
        self.half.is_some()
    }

    /// Whether the peer may send no part of a body, on any stream, before we have taken what is here.
    pub(super) fn holds_peer_back(&self) -> bool {
        self.window <= 0
    }

    /// The newest stream whose request has come.
    pub(super) fn newest(&self) -> u32 {
        self.newest
    }

    /// Whether it was said which stream is the last.
    pub(super) fn last_is_said(&self) -> bool {
        self.last != HIGHEST_STREAM
    }

    /// Whether the peer sends more frames without a request than anybody needs.
    pub(super) fn is_flooded(&self) -> bool {
        self.idle_frames >= FRAMES_WITHOUT_A_REQUEST
    }

    /// Whether a frame of ours may be put behind what the kernel has taken.
    pub(super) fn is_between_frames(&self) -> bool {
        self.sent.is_between() && !self.in_a_block
    }

    /// Whether a head that hyper does not know of may be put there.
    pub(super) fn may_begin_a_block(&self) -> bool {
        self.is_between_frames() && (self.small_table.is_none() || self.unacknowledged == 0)
    }

    /// The size of the peer's table of fields, where a head that begins now has to say it.
    pub(super) fn small_table(&self) -> Option<u32> {
        self.small_table
    }

    /// Whether nothing has come behind the head of this stream's request, nor gone in answer to it.
    pub(super) fn waits_to_be_asked(&self, stream: u32) -> bool {
        self.open.get(&stream).is_some_and(|open| open.said == Said::Head)
    }

    /// The service is called, and its answer will tell `given`. Gives for which stream that is. hyper does not
    /// tell, but calls in the order in which streams were opened, and those that h2 refuses it refuses on
    /// the wire before the next call. Where the kernel takes nothing meanwhile, this is another
    /// stream than the one that is meant.
    pub(super) fn call(&mut self, given: &Arc<Given>) -> Option<u32> {
        let stream = self.uncalled.pop_front()?;
        if let Some(open) = self.open.get_mut(&stream) {
            open.given = Some(given.clone());
        }
        Some(stream)
    }

    /// When the first of the open streams is given up, all of whose answers have been handed over.
    pub(super) fn late(&mut self, now: Instant, rate: impl Fn() -> OutRate) -> Option<Instant> {
        let deadline = |open: &mut Open| {
            let rate = open.rate.get_or_insert_with(&rate);
            rate.blocked(now);
            rate.deadline(false)
        };
        self.open.values_mut().filter_map(deadline).min()
    }

    /// Takes note of bytes that the peer sent.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let mut received = std::mem::take(&mut self.received);
        received.read(bytes, |frame| {
            self.head_is_whole();
            self.received_frame(&frame);
        });
        if received.is_between() {
            self.head_is_whole();
        }
        self.received = received;
    }

    fn received_frame(&mut self, frame: &Frame<'_>) {
        if frame.kind == DATA {
            self.window -= i64::try_from(frame.length).unwrap_or(0);
        }
        match frame.kind {
            HEADERS if frame.stream > self.newest_seen => {
                self.newest_seen = frame.stream;
                self.idle_frames = 0;
                let is_whole = frame.flags & END_STREAM != 0;
                let said = if is_whole { Said::More } else { Said::Head };
                let ends = frame.flags & END_HEADERS != 0;
                self.half = Some(Half { stream: frame.stream, said, ends });
            }
            CONTINUATION => {
                if let Some(half) = &mut self.half {
                    half.ends |= frame.flags & END_HEADERS != 0;
                }
            }
            DATA if frame.length > 0 => {
                self.data_goes(frame.length);
                self.says_more(frame.stream);
            }
            // h2 bounds these by itself.
            HEADERS => self.says_more(frame.stream),
            other => {
                self.idle_frames = self.idle_frames.saturating_add(1);
                match other {
                    RST_STREAM => drop(self.open.remove(&frame.stream)),
                    DATA => self.says_more(frame.stream),
                    SETTINGS if frame.flags & ACK == 0 => {
                        let sizes = small_tables(frame.payload);
                        self.small_table = sizes.chain(self.small_table).min();
                        self.unacknowledged += 1;
                    }
                    _ => {}
                }
            }
        }
    }

    /// The last frame of a head, if one has begun, is over.
    fn head_is_whole(&mut self) {
        let Some(Half { stream, said, .. }) = self.half.take_if(|half| half.ends) else { return };
        self.newest = stream;
        // Streams above the last one are not answered (RFC 9113 §6.8).
        if stream <= self.last {
            self.open.insert(stream, Open { said, given: None, rate: None });
            self.uncalled.push_back(stream);
        }
    }

    /// Takes note of bytes that the kernel has taken from us.
    pub(super) fn send(&mut self, bytes: &[u8], now: Instant) {
        let mut sent = std::mem::take(&mut self.sent);
        sent.read(bytes, |frame| self.sent_frame(&frame, now));
        self.sent = sent;
    }

    fn sent_frame(&mut self, frame: &Frame<'_>, now: Instant) {
        if matches!(frame.kind, HEADERS | CONTINUATION) {
            self.in_a_block = frame.flags & END_HEADERS == 0;
            self.small_table = self.small_table.filter(|_| self.unacknowledged > 0);
        }
        let is_over = match frame.kind {
            DATA | HEADERS => {
                if frame.kind == DATA {
                    self.data_goes(frame.length);
                    self.takes(frame, now);
                }
                self.says_more(frame.stream);
                frame.flags & END_STREAM != 0
            }
            RST_STREAM => true,
            WINDOW_UPDATE if frame.stream == 0 => {
                self.window += number(frame.payload).map_or(0, i64::from);
                false
            }
            SETTINGS if frame.flags & ACK != 0 => {
                self.unacknowledged = self.unacknowledged.saturating_sub(1);
                false
            }
            GOAWAY => {
                let last = number(frame.payload).map_or(HIGHEST_STREAM, |it| it & HIGHEST_STREAM);
                self.last = last;
                self.open.split_off(&last.saturating_add(1));
                self.uncalled.retain(|stream| *stream <= last);
                false
            }
            _ => false,
        };
        if is_over {
            self.open.remove(&frame.stream);
            self.uncalled.retain(|stream| *stream != frame.stream);
        }
    }

    /// Data goes either way.
    fn data_goes(&mut self, length: usize) {
        let beside = u32::try_from(length / BYTES_BESIDE_A_FRAME).unwrap_or(u32::MAX);
        self.idle_frames = self.idle_frames.saturating_sub(beside.max(FRAMES_BESIDE_DATA));
    }

    /// The peer is sent part of an answer, for which it has given a window.
    fn takes(&mut self, frame: &Frame<'_>, now: Instant) {
        let Some(open) = self.open.get_mut(&frame.stream) else { return };
        if let Some(given) = &open.given {
            given.written.fetch_add(frame.length as u64, Ordering::AcqRel);
        }
        if let Some(rate) = &mut open.rate {
            rate.wrote(now, frame.length);
        }
    }

    fn says_more(&mut self, stream: u32) {
        if let Some(open) = self.open.get_mut(&stream) {
            open.said = Said::More;
        }
    }
}

/// The sizes of its table of fields that a peer's settings ask for, as far as they are smaller than at first.
fn small_tables(settings: &[u8]) -> impl Iterator<Item = u32> {
    settings
        .chunks_exact(6)
        .filter(|setting| setting.starts_with(&TABLE_SIZE.to_be_bytes()))
        .filter_map(|setting| number(&setting[2..]))
        .filter(|size| *size < USUAL_TABLE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::super::h2_frames::frame;
    use super::*;

    fn now() -> Instant {
        Instant::now()
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
        use std::time::Duration;
        let mut streams = streams_with(&[1, 3]);
        let given = [Arc::new(Given::default()), Arc::new(Given::default())];
        assert_eq!(given.each_ref().map(|given| streams.call(given)), [Some(1), Some(3)]);
        let (stall, began) = (Duration::from_secs(30), now());
        let rate = || OutRate::new(stall, None);
        assert_eq!(streams.late(began, rate), Some(began + stall));
        let later = began + Duration::from_secs(20);
        streams.send(&frame(DATA, 0, 1, &[0; 500]), later);
        assert_eq!(streams.late(later, rate), Some(began + stall), "3 has taken nothing");
        streams.send(&frame(DATA, END_STREAM, 3, b"x"), later);
        assert_eq!(streams.late(later, rate), Some(later + stall));
        assert_eq!(given.map(|given| given.written.load(Ordering::Acquire)), [500, 1]);
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
}
