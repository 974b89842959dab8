//! What became of the requests of one kind of client: sums, and each loss in full.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::time::Instant;

use super::fate::{Fate, LossKind, RefusedBy, When};

/// The most losses that one client keeps in full. More are counted only.
const MOST_KEPT: usize = 1000;

/// So many in each phase of a stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PhaseCounts {
    /// As [`When::Before`] says.
    pub before: u64,
    /// As [`When::Stop`] says.
    pub stop: u64,
    /// As [`When::After`] says.
    pub after: u64,
}

impl PhaseCounts {
    /// All together.
    #[must_use]
    pub fn sum(self) -> u64 {
        self.before + self.stop + self.after
    }

    fn of(&mut self, when: When) -> &mut u64 {
        match when {
            When::Before => &mut self.before,
            When::Stop => &mut self.stop,
            When::After => &mut self.after,
        }
    }

    fn add(&mut self, other: Self) {
        self.before += other.before;
        self.stop += other.stop;
        self.after += other.after;
    }
}

/// The sums of one kind of client. Every request is in `answered`, `refused` or `lost`, and in one of them only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Requests of which at least a byte was sent.
    pub sent: u64,
    /// Requests whose whole, right response came.
    pub answered: PhaseCounts,
    /// Requests that the server has not begun with, by how we know.
    pub refused: BTreeMap<RefusedBy, PhaseCounts>,
    /// Lost requests.
    pub lost: BTreeMap<LossKind, PhaseCounts>,
    /// The lost ones that the client may repeat, because they were GETs, and their connection ended before a byte of
    /// a response.
    pub repeatable: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Connections whose end was announced, by `Connection: close` or GOAWAY. Those of one request are not counted.
    pub announced: u64,
    /// Connections that ended while idle and without a word. Nothing was lost, because this client looked before it
    /// sent; another one would have sent into the closed connection.
    pub closed_idle: u64,
    /// Connects that failed for want of something of ours, as ports or descriptors. They say nothing of the server.
    pub own_failures: u64,
}

impl Tally {
    /// All lost requests.
    #[must_use]
    pub fn lost_in_all(&self) -> u64 {
        self.lost.values().map(|counts| counts.sum()).sum()
    }

    /// All refused requests.
    #[must_use]
    pub fn refused_in_all(&self) -> u64 {
        self.refused.values().map(|counts| counts.sum()).sum()
    }

    /// Adds another one.
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered.add(other.answered);
        for (by, counts) in other.refused {
            self.refused.entry(by).or_default().add(counts);
        }
        for (kind, counts) in other.lost {
            self.lost.entry(kind).or_default().add(counts);
        }
        self.repeatable += other.repeatable;
        self.connections += other.connections;
        self.announced += other.announced;
        self.closed_idle += other.closed_idle;
        self.own_failures += other.own_failures;
    }
}

/// A request that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedRequest {
    pub(crate) id: u64,
    /// Whether at least a byte of it was sent.
    pub(crate) was_sent: bool,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) when: When,
    /// Whether it is lost, and the client may repeat it.
    pub(crate) is_repeatable: bool,
}

/// A loss in full.
#[derive(Clone, Debug)]
pub(crate) struct KeptLoss {
    pub(crate) request: EndedRequest,
    pub(crate) kind: LossKind,
    pub(crate) detail: String,
}

/// What became of the requests of one client.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) tally: Tally,
    pub(crate) losses: Vec<KeptLoss>,
    /// The last failure that was our own.
    pub(crate) own_failure: Option<String>,
}

impl Ledger {
    /// Enters a request that has ended.
    pub(crate) fn enter(&mut self, request: EndedRequest, fate: Fate, detail: &str) {
        self.tally.sent += u64::from(request.was_sent);
        self.tally.repeatable += u64::from(request.is_repeatable);
        let counts = match fate {
            Fate::Answered => &mut self.tally.answered,
            Fate::Refused(by) => self.tally.refused.entry(by).or_default(),
            Fate::Lost(kind) => {
                self.keep(request, kind, detail);
                self.tally.lost.entry(kind).or_default()
            }
        };
        *counts.of(request.when) += 1;
    }

    /// Moves a request that was entered as answered: bytes have come behind its response.
    pub(crate) fn answered_twice(&mut self, request: EndedRequest, detail: &str) {
        *self.tally.answered.of(request.when) -= 1;
        *self.tally.lost.entry(LossKind::Twice).or_default().of(request.when) += 1;
        self.keep(request, LossKind::Twice, detail);
    }

    /// Adds the ledger of another client of the same kind.
    pub(crate) fn merge(&mut self, other: Self) {
        self.tally.add(other.tally);
        self.losses.extend(other.losses);
        self.own_failure = other.own_failure.or_else(|| self.own_failure.take());
    }

    fn keep(&mut self, request: EndedRequest, kind: LossKind, detail: &str) {
        if self.losses.len() < MOST_KEPT {
            self.losses.push(KeptLoss { request, kind, detail: detail.to_owned() });
        }
    }
}
