//! Which HTTP/2 streams are open, and how many frames come without a request, read off the frames on the
//! wire (RFC 9113 §4.1, §5.1).
//!
//! hyper's future of a stream ends when it has handed the last frame to h2, which may hold it for
//! as long as the peer gives no window. Only the wire knows that it has left.

use std::collections::{BTreeMap, VecDeque};

use super::h2_frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, HIGHEST_STREAM,
    RST_STREAM, SETTINGS, number,
};

/// The setting of the largest table of fields that a peer keeps, and its default (RFC 9113 §6.5.2).
const TABLE_SIZE: u16 = 1;
const USUAL_TABLE_SIZE: u32 = 4096;

/// Frames that cost us something and bring no request: PING, SETTINGS, PRIORITY, RST_STREAM, WINDOW_UPDATE,
/// empty DATA, unknown ones (RFC 9113 §10.5). A peer that sends so many without a request is told to calm
/// down.
const FRAMES_WITHOUT_A_REQUEST: u32 = 10_000;

/// Who sends or takes data has a reason for frames beside it: each frame of data lets so many go.
const FRAMES_BESIDE_DATA: u32 = 8;

/// The streams of one connection, followed in both directions.
#[derive(Debug)]
pub(super) struct Streams {
    open: BTreeMap<u32, Said>,
    /// Those for which the service has not been called yet.
    uncalled: VecDeque<u32>,
    newest: u32,
    /// The last stream that is answered, once that is said.
    last: u32,
    /// Frames since the last request that brought nothing.
    idle_frames: u32,
    /// Frames of answers that the peer has taken.
    answered: u64,
    received: Frames,
    sent: Frames,
    /// A head of ours goes on in the next frame.
    in_a_block: bool,
    /// The peer's table of fields has become so small, which our next head has to say (RFC 7541 §4.2).
    small_table: Option<u32>,
    /// Settings of the peer that are not acknowledged: what they say does not hold yet.
    unacknowledged: u32,
}

/// What has been said on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// The head of a request, behind which a body may come.
    Head,
    /// More.
    More,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            open: BTreeMap::new(),
            uncalled: VecDeque::new(),
            newest: 0,
            last: HIGHEST_STREAM,
            idle_frames: 0,
            answered: 0,
            received: Frames::behind_a_preface(),
            sent: Frames::default(),
            in_a_block: false,
            small_table: None,
            unacknowledged: 0,
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
        self.open.get(&stream) == Some(&Said::Head)
    }

    /// The service is called: gives for which stream. hyper does not tell, but calls in the order in which
    /// streams were opened, and those that h2 refuses it refuses on the wire before the next call. Where
    /// the kernel takes nothing meanwhile, this is another stream than the one that is meant.
    pub(super) fn call(&mut self) -> Option<u32> {
        self.uncalled.pop_front()
    }

    /// Takes note of bytes that the peer sent.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let Self { open, uncalled, newest, last, idle_frames, received, .. } = self;
        let (small_table, unacknowledged) = (&mut self.small_table, &mut self.unacknowledged);
        received.read(bytes, |frame| match frame.kind {
            HEADERS if frame.stream > *newest => {
                *newest = frame.stream;
                *idle_frames = 0;
                // Streams above the last one are not answered (RFC 9113 §6.8).
                if frame.stream <= *last {
                    let is_whole = frame.flags & END_STREAM != 0;
                    let said = if is_whole { Said::More } else { Said::Head };
                    open.insert(frame.stream, said);
                    uncalled.push_back(frame.stream);
                }
            }
            DATA if frame.length > 0 => {
                *idle_frames = idle_frames.saturating_sub(FRAMES_BESIDE_DATA);
                says_more(open, frame.stream);
            }
            // h2 bounds these by itself.
            HEADERS => says_more(open, frame.stream),
            CONTINUATION => {}
            other => {
                *idle_frames = idle_frames.saturating_add(1);
                match other {
                    RST_STREAM => drop(open.remove(&frame.stream)),
                    DATA => says_more(open, frame.stream),
                    SETTINGS if frame.flags & ACK == 0 => {
                        let sizes = small_tables(frame.payload);
                        *small_table = sizes.chain(*small_table).min();
                        *unacknowledged += 1;
                    }
                    _ => {}
                }
            }
        });
    }

    /// Takes note of bytes that the kernel has taken from us.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let Self { open, uncalled, last, idle_frames, answered, sent, .. } = self;
        let (in_a_block, small_table) = (&mut self.in_a_block, &mut self.small_table);
        let unacknowledged = &mut self.unacknowledged;
        sent.read(bytes, |frame| {
            if matches!(frame.kind, HEADERS | CONTINUATION) {
                *in_a_block = frame.flags & END_HEADERS == 0;
                *small_table = small_table.filter(|_| *unacknowledged > 0);
            }
            let is_over = match frame.kind {
                DATA | HEADERS => {
                    *answered += 1;
                    if frame.kind == DATA {
                        *idle_frames = idle_frames.saturating_sub(FRAMES_BESIDE_DATA);
                    }
                    says_more(open, frame.stream);
                    frame.flags & END_STREAM != 0
                }
                RST_STREAM => true,
                SETTINGS if frame.flags & ACK != 0 => {
                    *unacknowledged = unacknowledged.saturating_sub(1);
                    false
                }
                GOAWAY => {
                    *last = number(frame.payload).map_or(HIGHEST_STREAM, |it| it & HIGHEST_STREAM);
                    open.split_off(&last.saturating_add(1));
                    uncalled.retain(|stream| *stream <= *last);
                    false
                }
                _ => false,
            };
            if is_over {
                open.remove(&frame.stream);
                uncalled.retain(|stream| *stream != frame.stream);
            }
        });
    }
}

fn says_more(open: &mut BTreeMap<u32, Said>, stream: u32) {
    if let Some(said) = open.get_mut(&stream) {
        *said = Said::More;
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
