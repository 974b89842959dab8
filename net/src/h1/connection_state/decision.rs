//! What the driver of a connection is to do next, and until when.

use tokio::time::{Duration, Instant};

use super::{ConnectionState, Look};
use crate::connection_end::{CUT_FLUSH, ConnectionEnd};
use crate::h1::request_reader::Reading;
use crate::service::Refusal;
use crate::socket::{LOOKS, REACTOR_TURN};

/// What is still to come of a request that was answered is read for so long at most, while it comes. An upload
/// that takes longer could have been told so by its answer's `Connection: close`.
pub(super) const REST_AT_MOST: Duration = Duration::from_secs(300);

/// What the driver is to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::h1) enum Decision {
    /// Nothing, until then at the latest.
    Wait(Instant),
    /// Look into the kernel, and say what there is with [`ConnectionState::looked`].
    Look(Side),
    /// End the connection.
    Leave(ConnectionEnd),
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::h1) enum Side {
    /// Are there bytes of the peer?
    Input,
    /// Would the kernel take bytes?
    Output,
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
    GoOver,
}

impl ConnectionState {
    /// What the driver is to do now.
    pub(in crate::h1) fn decide(&self) -> Decision {
        let (at, then) = self.then();
        if at > self.now {
            return Decision::Wait(at);
        }
        let end = match then {
            Then::LookAgain => return Decision::Wait(self.now + self.limits.keep_alive),
            Then::DropAtCut => return Decision::Leave(ConnectionEnd::Dropped),
            // What the kernel has goes with the socket.
            Then::GoOver => return Decision::Leave(ConnectionEnd::GoesOver),
            Then::Malformed(why) => {
                return Decision::Leave(ConnectionEnd::Refused(Refusal::Malformed(why)));
            }
            Then::LeaveAtCut if self.head_is_here() || self.has_seen_something() => {
                return Decision::Leave(ConnectionEnd::Refused(Refusal::Stopping));
            }
            Then::GiveUp => return Decision::Leave(ConnectionEnd::Finished),
            Then::CloseIdle | Then::LeaveAtCut => ConnectionEnd::Finished,
            Then::HeadTooSlow => ConnectionEnd::Refused(Refusal::HeadTooSlow),
            Then::Stalled => ConnectionEnd::Dropped,
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
        match *self.reader.reading() {
            Reading::NoHead(why) => return (self.now, Then::Malformed(why)),
            Reading::NoBody | Reading::Over => return (self.now, Then::GiveUp),
            _ => {}
        }
        if let Some(since) = self.head_since() {
            return (since + limits.head, Then::HeadTooSlow);
        }
        // Half of an empty line that was read here would be missing there.
        if self.goes_over && self.is_idle() && !self.reader.is_in_empty_line() {
            return (self.now, Then::GoOver);
        }
        if self.unwanted {
            return (self.now, Then::CloseIdle);
        }
        let until = if self.reads_a_rest() {
            (self.moved.max(self.idle_since) + limits.stall).min(self.idle_since + REST_AT_MOST)
        } else if self.served == 0 {
            self.idle_since + limits.head
        } else {
            self.idle_since + limits.keep_alive
        };
        let Some(began) = self.drain else { return (until, Then::CloseIdle) };
        // The next request may lie behind what still comes of a body.
        let last = if self.reads_a_rest() { self.moved } else { self.idle_since };
        (until.min(began.max(last) + limits.linger), Then::CloseIdle)
    }

    /// What was found where [`Decision::Look`] said.
    pub(in crate::h1) fn looked(&mut self, something: bool) {
        self.seen = Some(if something {
            self.looks += 1;
            Look::Something { until: self.now + REACTOR_TURN }
        } else {
            Look::Nothing
        });
    }

    fn has_seen_something(&self) -> bool {
        self.reader.awaits_head() && matches!(self.seen, Some(Look::Something { .. }))
    }
}
