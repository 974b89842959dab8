//! What one HTTP/1 connection is doing: the only place that knows.
//!
//! A pure machine: bytes, answers, phases and moments come in, decisions go out. It does no I/O and has
//! no clock. hyper alone decides what a head means; the machine is told the framing that hyper found, and
//! follows it to the byte, so that hyper is never given a byte of the next request. Nothing of a body can
//! be read as a head, because bytes are given out in one place, the [`RequestReader`].
//!
//! ```text
//!           bytes              request()            bytes             last byte
//!   Head ─────────→ (its end) ──────────→ Body ────────────→ Complete
//!    ↑                                     │                    │
//!    │            the answer's last frame, │ and the body's     │ the answer's last frame
//!    └─────────────────────────────────────┴────────────────────┘
//! ```
//!
//! What comes behind a request waits in the reader until its answer has ended.

mod decision;
mod wishes;

use bytes::BytesMut;
use tokio::time::{Duration, Instant};

use super::framing::Bounds;
use super::request_reader::{Due, Framing, Reading, RequestReader};
use crate::context::PeerLimits;
use crate::out_rate::OutRate;
use crate::registry::{Activity, Standing};
use crate::socket::Sending;

pub(super) use decision::{Decision, Side};

/// A peer that always has its next request under way is told all the same after this.
const PIPELINED_AT_MOST: Duration = Duration::from_secs(1);

/// The state of one HTTP/1 connection. See the module.
#[derive(Debug)]
pub(super) struct ConnectionState {
    limits: PeerLimits,
    /// The moment of this turn, handed in by [`Self::tick`].
    now: Instant,
    /// A request has begun in this turn.
    has_served_in_turn: bool,
    accepted: Instant,
    reader: RequestReader,
    /// Since when part of a TLS record is here, of which nobody can say what it is.
    half_record: Option<Instant>,
    /// An exchange whose answer has not been handed over whole.
    exchange: Option<Exchange>,
    /// The last answer was broken off.
    broken: bool,
    /// The answer being written has no end but the close (HTTP/1.0).
    ends_by_close: bool,
    output: OutRate,
    /// Others wait for what this one holds up.
    hurry: bool,
    served: u64,
    /// Since when nothing is owed.
    idle_since: Instant,
    /// When bytes last went either way.
    moved: Instant,
    /// Since when answers should say that this is the end.
    leaving: Option<Instant>,
    drain: Option<Instant>,
    cut: Option<Instant>,
    /// The connection is asked to make room for a newcomer.
    unwanted: bool,
    /// Another process goes on with it, once it is idle.
    goes_over: bool,
    /// What the last look into the kernel has found, while that is of use.
    seen: Option<Look>,
    looks: u32,
}

#[derive(Clone, Copy, Debug)]
struct Exchange {
    /// No other one follows on this connection (RFC 9112 §9.3), and the peer knows.
    is_last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Nothing,
    /// There is something, and the reactor has until then to tell.
    Something {
        until: Instant,
    },
}

impl ConnectionState {
    /// A connection that was accepted at `accepted`, has sent `ahead` since, and brought so many requests before.
    pub(super) fn new(
        limits: PeerLimits,
        (accepted, served): (Instant, u64),
        ahead: BytesMut,
    ) -> Self {
        let trailers = Bounds { fields: limits.headers, bytes: limits.header_size };
        Self {
            limits,
            now: accepted,
            has_served_in_turn: false,
            accepted,
            reader: RequestReader::new(trailers, ahead),
            half_record: None,
            exchange: None,
            broken: false,
            ends_by_close: false,
            output: OutRate::new(limits.stall, limits.min_rate),
            hurry: false,
            served,
            idle_since: accepted,
            moved: accepted,
            leaving: None,
            drain: None,
            cut: None,
            unwanted: false,
            goes_over: false,
            seen: None,
            looks: 0,
        }
    }

    /// A turn begins at `now`. What was found in the kernel before is of no use any more.
    #[inline]
    pub(super) fn tick(&mut self, now: Instant) {
        self.now = now;
        self.has_served_in_turn = false;
        if self.seen == Some(Look::Nothing) {
            self.seen = None;
        }
    }

    // Bytes of the peer.

    /// What hyper may be given, which has room for `room` bytes.
    #[inline]
    pub(super) fn due(&mut self, room: usize) -> Due {
        self.reader.due(room, self.in_flight())
    }

    /// Whether hyper was told that nothing is due, and now something is.
    #[inline]
    pub(super) fn is_due_again(&mut self) -> bool {
        self.reader.is_due_again(self.in_flight())
    }

    /// What came before it was due, at most `most` bytes of it; empty if nothing has.
    pub(super) fn take_ahead(&mut self, most: usize) -> BytesMut {
        let piece = self.reader.take_ahead(most, self.head_begins());
        self.next_if_over();
        piece
    }

    /// Whether something has come before it was due.
    #[inline]
    pub(super) fn has_ahead(&self) -> bool {
        self.reader.has_ahead()
    }

    /// Bytes have been read from the socket, no more than were due. Gives how many of them hyper is to be
    /// given, and keeps the rest.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> usize {
        self.moved = self.now;
        self.seen = None;
        // What still comes of an answered request's body may come for ever, and is not looked for so long.
        if !self.reads_a_rest() {
            self.looks = 0;
        }
        let given = self.reader.receive(bytes, self.head_begins());
        self.next_if_over();
        given
    }

    /// Takes note of whether part of a TLS record is here, and nothing before it that could be read.
    pub(super) fn set_half_record(&mut self, is_here: bool) {
        self.half_record = is_here.then(|| self.head_begins());
    }

    /// Since when something is here that can only be a head, or part of one.
    fn head_since(&self) -> Option<Instant> {
        match *self.reader.reading() {
            Reading::Head { since, .. } => since.or(self.half_record),
            _ => None,
        }
    }

    /// Whether part of a head is here.
    fn head_is_here(&self) -> bool {
        self.reader.head_is_here() || self.head_since().is_some()
    }

    /// When a head begins whose first byte comes now. The first one has begun with its connection, one in a TLS record
    /// with that.
    fn head_begins(&self) -> Instant {
        if self.served == 0 { self.accepted } else { self.half_record.unwrap_or(self.now) }
    }

    /// Where both the request and its answer are over, the next head may come.
    fn next_if_over(&mut self) {
        if self.exchange.is_none() && self.reader.is_complete() {
            self.idle_since = self.now;
            self.reader.next_head(self.now);
        }
    }

    // Exchanges.

    /// hyper has read a head: an exchange begins at the moment that this gives. `is_last` is whether the peer
    /// has said that it sends no other request.
    pub(super) fn request(&mut self, framing: Framing, is_last: bool) -> Instant {
        self.served += 1;
        self.has_served_in_turn = true;
        self.unwanted = false;
        self.exchange = Some(Exchange { is_last });
        self.reader.begin(framing);
        self.now
    }

    /// Whether a request has begun in this turn, so that the turn's moment is not that of the next one.
    pub(super) fn has_served_in_turn(&self) -> bool {
        self.has_served_in_turn
    }

    /// The head of an answer is about to leave. Gives whether it has to say `Connection: close`.
    ///
    /// `abandoned` is whether the rest of the request will not be read; `asked` whether its peer has been asked
    /// for it; `leaving` since when peers are to leave; `unread` looks whether the kernel has bytes.
    pub(super) fn says_close(
        &mut self,
        abandoned: bool,
        asked: bool,
        leaving: Option<Instant>,
        unread: impl FnOnce() -> bool,
    ) -> bool {
        // What a peer holds back until it is asked for may never come.
        let held_back = !asked && !self.request_is_complete();
        let says_close = abandoned
            || held_back
            || self.reader.is_body_malformed()
            || leaving.is_some_and(|since| {
                self.has_pipelined_enough(since)
                    || !self.is_idle_behind_this() && !self.next_request_waits(unread)
            });
        if let Some(exchange) = &mut self.exchange {
            exchange.is_last |= says_close;
        }
        says_close
    }

    /// Whether another process goes on with the connection behind this answer, so that the peer need not leave.
    fn is_idle_behind_this(&self) -> bool {
        self.goes_over && self.request_is_complete()
    }

    /// Whether the peer has already sent its next request. It may not be answered any more once we have
    /// said `Connection: close` (RFC 9112 §9.6), so then we do not say it yet.
    fn next_request_waits(&self, unread: impl FnOnce() -> bool) -> bool {
        self.request_is_complete() && (self.reader.has_begun_ahead() || unread())
    }

    /// Whether a peer has had its time for requests under way. What it has sent behind the answer that
    /// says `Connection: close` it may send again.
    fn has_pipelined_enough(&mut self, since: Instant) -> bool {
        // A lame duck before this one, taken back since, is not counted.
        let told = self.leaving.filter(|told| *told >= since);
        let told = *self.leaving.insert(told.unwrap_or(self.now));
        self.now.saturating_duration_since(told) > PIPELINED_AT_MOST
    }

    /// Whether hyper has been given all of the request that is being served.
    #[inline]
    pub(super) fn request_is_complete(&self) -> bool {
        self.reader.is_complete()
    }

    /// The answer that is being written has no end but the close.
    pub(super) fn set_ends_by_close(&mut self, yes: bool) {
        self.ends_by_close = yes;
    }

    /// The last frame of the answer has been handed over, or nothing more of it will be. The exchange is
    /// over with it; what is still to come of its request belongs to nobody.
    pub(super) fn answered(&mut self) {
        if self.is_last() {
            self.reader.end();
        }
        self.exchange = None;
        self.idle_since = self.now;
        self.next_if_over();
    }

    /// Whether no other exchange follows on this connection, and the peer knows.
    #[inline]
    pub(super) fn is_last(&self) -> bool {
        self.exchange.is_some_and(|exchange| exchange.is_last)
    }

    /// The answer had to be broken off.
    pub(super) fn broke_off(&mut self) {
        self.broken = true;
    }

    /// Whether an answer was broken off.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the peer could take an answer that was broken off for a whole one.
    pub(super) fn breaks_by_reset(&self) -> bool {
        self.broken && self.ends_by_close
    }

    // Bytes of ours.

    /// The kernel has taken bytes, or takes none.
    #[inline]
    pub(super) fn sending(&mut self, sending: Sending) {
        match sending {
            Sending::Taken(bytes) => {
                self.moved = self.now;
                self.seen = None;
                self.looks = 0;
                self.output.wrote(self.now, bytes);
            }
            Sending::Blocked => self.output.blocked(self.now),
        }
    }

    /// Whether the peer holds up an exchange by not taking its answer.
    #[inline]
    pub(super) fn is_held_up(&self) -> bool {
        self.exchange.is_some() && self.output.is_blocked()
    }

    /// Whether others wait for what the peer holds up.
    #[inline]
    pub(super) fn set_hurry(&mut self, yes: bool) {
        self.hurry = yes;
    }

    /// All that hyper had to say has been taken.
    #[inline]
    pub(super) fn flushed(&mut self) {
        if self.output.flushed() {
            // What is owed counts as delivered when the kernel has it, not when we did.
            self.idle_since = self.now;
        }
    }

    // What is known.

    /// Whether an answer is not written yet.
    fn owes(&self) -> bool {
        self.exchange.is_some() || self.output.is_blocked()
    }

    /// Whether an exchange is in flight.
    #[inline]
    pub(super) fn in_flight(&self) -> bool {
        self.exchange.is_some()
    }

    /// Whether what is still to come of a request that was answered is waited for.
    fn reads_a_rest(&self) -> bool {
        self.exchange.is_none() && self.reader.is_in_body()
    }

    fn doing(&self) -> Activity {
        if self.output.is_blocked() {
            return Activity::Writing;
        }
        if self.reader.is_in_body() || self.head_is_here() {
            Activity::Reading
        } else if self.in_flight() {
            Activity::Serving
        } else {
            Activity::Idle
        }
    }

    /// What the registry is told.
    pub(super) fn standing(&self) -> Standing {
        Standing {
            doing: self.doing(),
            moved: self.moved,
            served: self.served,
            in_flight: usize::from(self.in_flight()),
        }
    }
}

#[cfg(test)]
#[path = "connection_state_tests.rs"]
mod tests;
