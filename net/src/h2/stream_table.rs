//! Which HTTP/2 streams are open, how much of their answers has left, and how many frames come without a
//! request, read off the frames on the wire (RFC 9113 §4.1, §5.1).
//!
//! hyper's future of a stream ends when it has handed the last frame to h2, which may hold it for
//! as long as the peer gives no window. Only the wire knows that it has left.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, FrameReader, GOAWAY, HEADERS,
    HIGHEST_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, number,
};
use super::send_progress::SendProgress;
use crate::counts::NetCounts;
use crate::out_rate::OutRate;

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

/// Requests that a peer takes back before they have an answer, beyond those that had one: the Rapid Reset attack
/// (CVE-2023-44487), spread so that h2 finds none of them waiting. Each may have started a guest. Whoever scrolls
/// through pictures takes back some dozens. From so many on the peer is sent GOAWAY, by which nobody loses anything,
/// and from twice as many on the connection ends.
const TAKEN_BACK: u32 = 500;

/// The streams of one connection, followed in both directions.
#[derive(Debug)]
pub(super) struct StreamTable {
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
    /// Requests taken back without an answer, beyond those that were answered.
    taken_back: u32,
    received: FrameReader,
    sent: FrameReader,
    /// Bytes that all uploads together may still bring.
    window: i64,
    /// A head of ours goes on in the next frame.
    in_a_block: bool,
    /// The peer's table of fields has become so small, which our next head has to say (RFC 7541 §4.2).
    small_table: Option<u32>,
    /// Settings of the peer that are not acknowledged: what they say does not hold yet.
    unacknowledged: u32,
    /// Requests that h2 has answered itself.
    answered_by_h2: u32,
    counts: NetCounts,
}

/// A stream that the peer has opened, and not yet had the end of.
#[derive(Debug)]
struct Open {
    said: Said,
    /// The head of its answer has left.
    is_answered: bool,
    /// What its answer has given.
    progress: Option<Arc<SendProgress>>,
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

impl StreamTable {
    /// Of a new connection; what we break off on it is counted in `counts`.
    pub(super) fn new(counts: NetCounts) -> Self {
        Self {
            open: BTreeMap::new(),
            uncalled: VecDeque::new(),
            half: None,
            newest_seen: 0,
            newest: 0,
            last: HIGHEST_STREAM,
            idle_frames: 0,
            taken_back: 0,
            received: FrameReader::behind_a_preface(),
            sent: FrameReader::of_answers(),
            window: FIRST_WINDOW,
            in_a_block: false,
            small_table: None,
            unacknowledged: 0,
            answered_by_h2: 0,
            counts,
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

    /// Whether the peer sends more frames without a request than anybody needs, or goes on to take requests back.
    pub(super) fn is_flooded(&self) -> bool {
        self.idle_frames >= FRAMES_WITHOUT_A_REQUEST || self.taken_back >= 2 * TAKEN_BACK
    }

    /// Whether the peer takes more requests back than it waits for, and had better leave.
    pub(super) fn takes_requests_back(&self) -> bool {
        self.taken_back >= TAKEN_BACK
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

    /// The service is called, and its answer will tell `progress`. Gives for which stream that is. hyper does not
    /// tell, but calls in the order in which streams were opened, and those that h2 refuses it refuses on
    /// the wire before the next call. Where the kernel takes nothing meanwhile, this is another
    /// stream than the one that is meant.
    pub(super) fn call(&mut self, progress: &Arc<SendProgress>) -> Option<u32> {
        let stream = self.uncalled.pop_front()?;
        if let Some(open) = self.open.get_mut(&stream) {
            open.progress = Some(progress.clone());
        }
        Some(stream)
    }

    /// How many requests h2 has answered, since this was asked last: it does so where a head is too large (RFC 6585
    /// §5), and the service is not called.
    pub(super) fn take_answered_by_h2(&mut self) -> u32 {
        std::mem::take(&mut self.answered_by_h2)
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
                    RST_STREAM => self.is_taken_back(frame.stream),
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

    /// The peer has reset a stream.
    fn is_taken_back(&mut self, stream: u32) {
        if self.open.remove(&stream).is_some_and(|open| !open.is_answered) {
            self.taken_back += 1;
        }
    }

    /// The last frame of a head, if one has begun, is over.
    fn head_is_whole(&mut self) {
        let Some(Half { stream, said, .. }) = self.half.take_if(|half| half.ends) else { return };
        self.newest = stream;
        // Streams above the last one are not answered (RFC 9113 §6.8).
        if stream <= self.last {
            self.open.insert(stream, Open { said, is_answered: false, progress: None, rate: None });
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
                } else if !frame.is_continue() {
                    self.answers(frame);
                }
                self.says_more(frame.stream);
                let is_over = frame.flags & END_STREAM != 0;
                self.taken_back = self.taken_back.saturating_sub(u32::from(is_over));
                is_over
            }
            RST_STREAM => {
                if self.open.contains_key(&frame.stream) {
                    self.counts.reset(number(frame.payload).unwrap_or_default());
                }
                true
            }
            WINDOW_UPDATE if frame.stream == 0 => {
                self.window += number(frame.payload).map_or(0, i64::from);
                false
            }
            SETTINGS if frame.flags & ACK != 0 => {
                self.unacknowledged = self.unacknowledged.saturating_sub(1);
                false
            }
            GOAWAY => {
                let code = frame.payload.get(4..).and_then(number);
                self.counts.goaway(code.unwrap_or_default());
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

    /// The peer is sent the head of an answer, or the trailers behind it.
    fn answers(&mut self, frame: &Frame<'_>) {
        let Some(open) = self.open.get_mut(&frame.stream) else { return };
        if !open.is_answered && frame.is_bare_status() {
            self.answered_by_h2 += 1;
        }
        open.is_answered = true;
    }

    /// The peer is sent part of an answer, for which it has given a window.
    fn takes(&mut self, frame: &Frame<'_>, now: Instant) {
        let Some(open) = self.open.get_mut(&frame.stream) else { return };
        if let Some(progress) = &open.progress {
            progress.written.fetch_add(frame.length as u64, Ordering::AcqRel);
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
#[path = "stream_table_tests.rs"]
mod tests;
