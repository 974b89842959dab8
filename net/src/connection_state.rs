//! What one HTTP/1 connection is doing: the only place that knows.
//!
//! A pure machine: bytes, answers, phases and moments come in, decisions go out. It does no I/O and has
//! no clock. hyper alone decides what a head means; the machine is told the framing that hyper found, and
//! follows it to the byte, so that hyper is never given a byte of the next request. Nothing of a body can
//! be read as a head, because bytes are given out in one place, [`ConnectionState::give`].
//!
//! ```text
//!           bytes              request()            bytes             last byte
//!   Head ─────────→ (its end) ──────────→ Body ────────────→ Complete
//!    ↑                                     │                    │
//!    │            the answer's last frame, │ and the body's     │ the answer's last frame
//!    └─────────────────────────────────────┴────────────────────┘
//! ```
//!
//! What comes behind a request waits in `ahead` until its answer has ended.

use bytes::BytesMut;
use tokio::time::{Duration, Instant};

use super::connection::{CUT_FLUSH, End, LOOKS, REACTOR_TURN};
use super::framing::{Bounds, ChunkScan, HeadScan, Scan};
use super::out_rate::OutRate;
use super::registry::Doing;
use super::{Limits, Refusal};

/// What is still to come of a request that was answered is read for so long at most, while it comes. An upload
/// that takes longer could have been told so by its answer's `Connection: close`.
const REST_AT_MOST: Duration = Duration::from_secs(300);

/// A peer that always has its next request under way is told all the same after this.
const PIPELINED_AT_MOST: Duration = Duration::from_secs(1);

/// The state of one HTTP/1 connection. See the module.
#[derive(Debug)]
pub(super) struct ConnectionState {
    limits: Limits,
    /// The moment of this turn, handed in by [`Self::tick`].
    now: Instant,
    accepted: Instant,
    input: Input,
    /// What came behind the request that is being served, or before hyper has asked for it.
    ahead: BytesMut,
    /// hyper asked for bytes when it was not due any.
    parked: bool,
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
    /// What the last look into the kernel has found, while that is of use.
    seen: Option<Look>,
    looks: u32,
}

/// What the next bytes of the peer belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// A head, of which there are bytes since then.
    Head { since: Option<Instant>, scan: HeadScan },
    /// A head is with hyper, which says next what follows it.
    HeadGiven,
    /// A body of known length, of which so much has not come yet: at least one byte.
    Sized { left: u64 },
    /// A chunked body.
    Chunked { scan: ChunkScan },
    /// Nothing: all of the request has been given to hyper.
    Complete,
    /// What came in place of a head is none. Nothing more is read.
    NoHead(&'static str),
    /// What came in place of a body is none. Nothing more is read.
    NoBody,
    /// The last answer has said that it is the last one. Nothing more is read.
    Over,
}

/// How the body of a request ends, as hyper found it (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes; 0 where there is none.
    Sized(u64),
    /// With its last chunk.
    Chunked,
}

#[derive(Clone, Copy, Debug)]
struct Exchange {
    /// No other one follows on this connection (RFC 9112 §9.3), and the peer knows.
    is_last: bool,
}

/// What hyper may be given of what has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing, until [`ConnectionState::is_due_again`].
    Nothing,
    /// So many bytes at most.
    UpTo(usize),
    /// The error of a body that is malformed.
    Broken,
}

/// What the driver is to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing, until then at the latest.
    Wait(Instant),
    /// Look into the kernel, and say what there is with [`ConnectionState::looked`].
    Look(Side),
    /// End the connection.
    Leave(End),
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Are there bytes of the peer?
    Input,
    /// Would the kernel take bytes?
    Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Nothing,
    /// There is something, and the reactor has until then to tell.
    Something {
        until: Instant,
    },
}

/// What is due when a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    LookAgain,
    CloseIdle,
    /// Nothing more is read, whatever comes.
    GiveUp,
    HeadTooSlow,
    Malformed(&'static str),
    Stalled,
    LeaveAtCut,
    DropAtCut,
}

impl ConnectionState {
    /// A connection that was accepted at `accepted`, and has sent `ahead` since.
    pub(super) fn new(limits: Limits, accepted: Instant, ahead: BytesMut) -> Self {
        Self {
            limits,
            now: accepted,
            accepted,
            input: Input::Head { since: None, scan: HeadScan::default() },
            ahead,
            parked: false,
            exchange: None,
            broken: false,
            ends_by_close: false,
            output: OutRate::new(limits.stall, limits.min_rate),
            hurry: false,
            served: 0,
            idle_since: accepted,
            moved: accepted,
            leaving: None,
            drain: None,
            cut: None,
            unwanted: false,
            seen: None,
            looks: 0,
        }
    }

    /// A turn begins at `now`. What was found in the kernel before is of no use any more.
    pub(super) fn tick(&mut self, now: Instant) {
        self.now = now;
        if self.seen == Some(Look::Nothing) {
            self.seen = None;
        }
    }

    // Bytes of the peer.

    /// What hyper may be given, which has room for `room` bytes.
    pub(super) fn due(&mut self, room: usize) -> Due {
        let due = match self.input {
            Input::Head { .. } if self.exchange.is_none() => Due::UpTo(room),
            Input::Sized { left } => {
                Due::UpTo(room.min(usize::try_from(left).unwrap_or(usize::MAX)))
            }
            Input::Chunked { .. } => Due::UpTo(room),
            Input::NoBody => Due::Broken,
            Input::HeadGiven => {
                // hyper does not see the end of the head where we do: nobody knows what follows.
                self.input = Input::NoHead("bad request\n");
                Due::Nothing
            }
            Input::Head { .. } | Input::Complete | Input::NoHead(_) | Input::Over => Due::Nothing,
        };
        self.parked = due == Due::Nothing;
        due
    }

    /// Whether hyper was told that nothing is due, and now something is.
    pub(super) fn is_due_again(&mut self) -> bool {
        self.parked && self.due(1) != Due::Nothing
    }

    /// What came before it was due, at most `most` bytes of it; empty if nothing has.
    pub(super) fn take_ahead(&mut self, most: usize) -> BytesMut {
        let mut ahead = std::mem::take(&mut self.ahead);
        let mut piece = ahead.split_to(ahead.len().min(most));
        let given = self.give(&piece);
        let mut rest = piece.split_off(given);
        if rest.is_empty() {
            self.ahead = ahead;
        } else {
            rest.unsplit(ahead);
            self.ahead = rest;
        }
        piece
    }

    /// Whether something has come before it was due.
    pub(super) fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
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
        let given = self.give(bytes);
        self.ahead.extend_from_slice(&bytes[given..]);
        given
    }

    /// Follows `bytes` as far as they belong to the request that is being read: so many are hyper's.
    fn give(&mut self, bytes: &[u8]) -> usize {
        let scanned = match &mut self.input {
            Input::Head { since, scan } => {
                let scanned = scan.scan(bytes);
                if scan.has_begun() {
                    since.get_or_insert(if self.served == 0 { self.accepted } else { self.now });
                }
                scanned
            }
            Input::Chunked { scan } => scan.scan(bytes),
            Input::Sized { left } => {
                let given = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= given as u64;
                if *left > 0 { Scan::More } else { Scan::End(given) }
            }
            Input::HeadGiven | Input::Complete | Input::NoHead(_) | Input::NoBody | Input::Over => {
                return 0;
            }
        };
        match scanned {
            Scan::More => bytes.len(),
            Scan::End(given) => {
                self.input = match self.input {
                    Input::Head { .. } => Input::HeadGiven,
                    _ => Input::Complete,
                };
                self.next_if_over();
                given
            }
            Scan::Malformed(at, flaw) => {
                self.input = match self.input {
                    Input::Head { .. } => Input::NoHead(flaw.text()),
                    _ => Input::NoBody,
                };
                at
            }
        }
    }

    /// Where both the request and its answer are over, the next head may come.
    fn next_if_over(&mut self) {
        if self.exchange.is_none() && self.input == Input::Complete {
            self.idle_since = self.now;
            // A head that came ahead has begun, though hyper may need another turn to ask for it.
            let since = self.has_begun_ahead().then_some(self.now);
            self.input = Input::Head { since, scan: HeadScan::default() };
        }
    }

    // Exchanges.

    /// hyper has read a head: an exchange begins. `is_last` is whether the peer has said that it sends no
    /// other request.
    pub(super) fn request(&mut self, framing: Framing, is_last: bool) {
        self.served += 1;
        self.unwanted = false;
        self.exchange = Some(Exchange { is_last });
        self.input = match framing {
            Framing::Sized(0) => Input::Complete,
            Framing::Sized(left) => Input::Sized { left },
            Framing::Chunked => {
                let (fields, bytes) = (self.limits.headers, self.limits.header_size);
                Input::Chunked { scan: ChunkScan::new(Bounds { fields, bytes }) }
            }
        };
    }

    /// The head of an answer is about to leave. Gives whether it has to say `Connection: close`.
    ///
    /// `abandoned` is whether the rest of the request will not be read; `asked` whether its peer has been asked
    /// for it; `leaving` since when the process is about to stop; `unread` looks whether the kernel has bytes.
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
            || self.input == Input::NoBody
            || leaving.is_some_and(|since| {
                self.has_pipelined_enough(since) || !self.next_request_waits(unread)
            });
        if let Some(exchange) = &mut self.exchange {
            exchange.is_last |= says_close;
        }
        says_close
    }

    /// Whether the peer has already sent its next request. It may not be answered any more once we have
    /// said `Connection: close` (RFC 9112 §9.6), so then we do not say it yet.
    fn next_request_waits(&self, unread: impl FnOnce() -> bool) -> bool {
        self.request_is_complete() && (self.has_begun_ahead() || unread())
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
    pub(super) fn request_is_complete(&self) -> bool {
        self.input == Input::Complete
    }

    /// The answer that is being written has no end but the close.
    pub(super) fn set_ends_by_close(&mut self, yes: bool) {
        self.ends_by_close = yes;
    }

    /// The last frame of the answer has been handed over, or nothing more of it will be. The exchange is
    /// over with it; what is still to come of its request belongs to nobody.
    pub(super) fn answered(&mut self) {
        if self.is_last() {
            self.input = Input::Over;
        }
        self.exchange = None;
        self.idle_since = self.now;
        self.next_if_over();
    }

    /// Whether no other exchange follows on this connection, and the peer knows.
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

    /// The kernel has taken so many bytes.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.moved = self.now;
        self.seen = None;
        self.looks = 0;
        self.output.wrote(self.now, bytes);
    }

    /// The kernel takes no bytes.
    pub(super) fn blocked(&mut self) {
        self.output.blocked(self.now);
    }

    /// Whether the peer holds up an exchange by not taking its answer.
    pub(super) fn is_held_up(&self) -> bool {
        self.exchange.is_some() && self.output.is_blocked()
    }

    /// Whether others wait for what the peer holds up.
    pub(super) fn set_hurry(&mut self, yes: bool) {
        self.hurry = yes;
    }

    /// All that hyper had to say has been taken.
    pub(super) fn flushed(&mut self) {
        if self.output.flushed() {
            // What is owed counts as delivered when the kernel has it, not when we did.
            self.idle_since = self.now;
        }
    }

    // What the process asks for.

    /// The drain has begun.
    pub(super) fn drain(&mut self) {
        self.drain.get_or_insert(self.now);
    }

    /// The stop cuts.
    pub(super) fn cut(&mut self) {
        self.cut.get_or_insert(self.now);
    }

    /// A newcomer wants the place of this connection: it ends if it is idle. Gives whether it is.
    pub(super) fn make_room(&mut self) -> bool {
        self.unwanted = !self.owes() && matches!(self.input, Input::Head { since: None, .. });
        self.unwanted
    }

    // Decisions.

    /// Whether an answer is not written yet.
    fn owes(&self) -> bool {
        self.exchange.is_some() || self.output.is_blocked()
    }

    /// Whether an exchange is in flight.
    pub(super) fn in_flight(&self) -> bool {
        self.exchange.is_some()
    }

    /// What the driver is to do now.
    pub(super) fn decide(&self) -> Decision {
        let (at, then) = self.then();
        if at > self.now {
            return Decision::Wait(at);
        }
        let end = match then {
            Then::LookAgain => return Decision::Wait(self.now + self.limits.keep_alive),
            Then::DropAtCut => return Decision::Leave(End::Dropped),
            Then::Malformed(why) => return Decision::Leave(End::Refused(Refusal::Malformed(why))),
            Then::LeaveAtCut if self.head_is_here() || self.has_seen_something() => {
                return Decision::Leave(End::Refused(Refusal::Stopping));
            }
            Then::GiveUp => return Decision::Leave(End::Finished),
            Then::CloseIdle | Then::LeaveAtCut => End::Finished,
            Then::HeadTooSlow => End::Refused(Refusal::HeadTooSlow),
            Then::Stalled => End::Dropped,
        };
        let side = if then == Then::Stalled { Side::Output } else { Side::Input };
        match self.seen {
            _ if self.looks > LOOKS => Decision::Leave(end),
            Some(Look::Something { until }) if until > self.now => Decision::Wait(until),
            Some(Look::Nothing) => Decision::Leave(end),
            Some(Look::Something { .. }) | None => Decision::Look(side),
        }
    }

    /// What is due next, and when.
    fn then(&self) -> (Instant, Then) {
        let limits = &self.limits;
        if let Some(cut) = self.cut {
            return match self.owes() {
                true => (cut + CUT_FLUSH, Then::DropAtCut),
                false => (self.now, Then::LeaveAtCut),
            };
        }
        if let Some(until) = self.output.deadline(self.hurry) {
            return (until, Then::Stalled);
        }
        if self.exchange.is_some() {
            // It has deadlines of its own.
            return (self.now, Then::LookAgain);
        }
        match self.input {
            Input::NoHead(why) => return (self.now, Then::Malformed(why)),
            Input::NoBody | Input::Over => return (self.now, Then::GiveUp),
            Input::Head { since: Some(since), .. } => {
                return (since + limits.head, Then::HeadTooSlow);
            }
            _ => {}
        }
        if self.unwanted {
            return (self.now, Then::CloseIdle);
        }
        let until = match self.input {
            _ if self.reads_a_rest() => {
                (self.moved.max(self.idle_since) + limits.stall).min(self.idle_since + REST_AT_MOST)
            }
            _ if self.served == 0 => self.idle_since + limits.head,
            _ => self.idle_since + limits.keep_alive,
        };
        let Some(began) = self.drain else { return (until, Then::CloseIdle) };
        // The next request may lie behind what still comes of a body.
        let last = if self.reads_a_rest() { self.moved } else { self.idle_since };
        (until.min(began.max(last) + limits.linger), Then::CloseIdle)
    }

    /// What was found where [`Decision::Look`] said.
    pub(super) fn looked(&mut self, something: bool) {
        self.seen = Some(if something {
            self.looks += 1;
            Look::Something { until: self.now + REACTOR_TURN }
        } else {
            Look::Nothing
        });
    }

    fn has_seen_something(&self) -> bool {
        self.awaits_head() && matches!(self.seen, Some(Look::Something { .. }))
    }

    /// Whether what is still to come of a request that was answered is waited for.
    fn reads_a_rest(&self) -> bool {
        self.exchange.is_none() && matches!(self.input, Input::Sized { .. } | Input::Chunked { .. })
    }

    /// Whether the next bytes, if there are any, begin or go on with a head.
    fn awaits_head(&self) -> bool {
        matches!(self.input, Input::Head { .. } | Input::HeadGiven)
    }

    /// Whether part of a head is here.
    fn head_is_here(&self) -> bool {
        match self.input {
            Input::Head { since, .. } => since.is_some() || self.has_begun_ahead(),
            Input::HeadGiven => true,
            _ => false,
        }
    }

    /// Whether the next request has begun in what came ahead. Empty lines begin none.
    fn has_begun_ahead(&self) -> bool {
        self.ahead.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    // For who looks on.

    pub(super) fn served(&self) -> u64 {
        self.served
    }

    pub(super) fn moved(&self) -> Instant {
        self.moved
    }

    pub(super) fn doing(&self) -> Doing {
        if self.output.is_blocked() {
            return Doing::Writing;
        }
        match self.input {
            Input::Sized { .. } | Input::Chunked { .. } => Doing::Reading,
            _ if self.head_is_here() => Doing::Reading,
            _ if self.exchange.is_some() => Doing::Serving,
            _ => Doing::Idle,
        }
    }
}

#[cfg(test)]
#[path = "connection_state_tests.rs"]
mod tests;
