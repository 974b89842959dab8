//! A client of any kind: it asks, judges and keeps its ledger.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connect::{NoConnection, connect};
use super::fate::{Fate, LossKind, RefusedBy};
use super::kinds::ClientKind;
use super::ledger::{EndedRequest, Ledger};
use super::round::Round;
use super::stream::AnyStream;

/// The time before a connect is tried again that failed before the trigger.
const AGAIN: Duration = Duration::from_millis(10);

/// One client of one round.
#[derive(Debug)]
pub(crate) struct Tester {
    pub(crate) kind: ClientKind,
    /// Its number among the clients of its kind.
    pub(crate) who: usize,
    pub(crate) round: Arc<Round>,
    ledger: Ledger,
    warm: bool,
    refused: bool,
}

/// A request that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedRequest {
    pub(crate) id: u64,
    pub(crate) began: Instant,
}

impl Tester {
    pub(crate) fn new(kind: ClientKind, who: usize, round: Arc<Round>) -> Self {
        Self { kind, who, round, ledger: Ledger::default(), warm: false, refused: false }
    }

    /// A client that shares this one's connection. Together they are one client for the trigger.
    pub(crate) fn companion(&mut self) -> Self {
        let mut companion = Self::new(self.kind, self.who, Arc::clone(&self.round));
        companion.warm = std::mem::replace(&mut self.warm, true);
        companion
    }

    /// Whether there is to be another request. It waits for the pause between two.
    pub(crate) async fn goes_on(&self) -> bool {
        let pause = self.round.course.plan.pause;
        if !pause.is_zero() {
            sleep(pause).await;
        }
        !self.refused && !self.round.is_over()
    }

    /// The next request. The caller must send it now.
    pub(crate) fn ask(&self) -> AskedRequest {
        AskedRequest { id: self.round.course.next_id(), began: Instant::now() }
    }

    /// A connection. None when there is none: the caller asks whether it [goes on](Self::goes_on).
    pub(crate) async fn connect(&mut self) -> Option<AnyStream> {
        let asked = self.ask();
        match connect(&self.round, self.kind.is_http2()).await {
            Ok(stream) => {
                self.ledger.tally.connections += 1;
                return Some(stream);
            }
            Err(NoConnection::Refused(by)) => {
                // Behind a handshake that failed, the port still takes connections.
                self.refused = by == RefusedBy::Connect && self.round.refuse();
                self.settle(asked, false, Fate::Refused(by), "");
            }
            Err(NoConnection::Ours(why)) => {
                self.ledger.tally.own_failures += 1;
                self.ledger.own_failure = Some(why);
                self.round.is_hindered();
                self.had_an_outcome();
            }
        }
        if !self.refused {
            sleep(AGAIN).await;
        }
        None
    }

    /// The fate of a request whose whole response had this status, and what to say of it.
    pub(crate) fn judge(&self, status: u16) -> (Fate, String) {
        if status >= 500 {
            return (Fate::Lost(LossKind::ServerError), format!("status {status}"));
        }
        match self.round.course.expected(self.kind, status) {
            Some(expected) if status == expected => (Fate::Answered, String::new()),
            Some(expected) => {
                (Fate::Lost(LossKind::Status), format!("status {status}, not {expected}"))
            }
            None => (Fate::Lost(LossKind::Status), format!("status {status}")),
        }
    }

    /// Enters what became of a request. `was_sent` says whether a byte of it was.
    pub(crate) fn settle(
        &mut self,
        asked: AskedRequest,
        was_sent: bool,
        fate: Fate,
        detail: &str,
    ) -> EndedRequest {
        let may_repeat = matches!(fate, Fate::Lost(kind) if kind.is_repeatable());
        self.enter(asked, was_sent, fate, may_repeat && self.kind.is_idempotent(), detail)
    }

    fn enter(
        &mut self,
        asked: AskedRequest,
        was_sent: bool,
        fate: Fate,
        is_repeatable: bool,
        detail: &str,
    ) -> EndedRequest {
        let ended = Instant::now();
        let (id, began) = (asked.id, asked.began);
        let when = self.round.when(began, ended);
        let request = EndedRequest { id, was_sent, began, ended, when, is_repeatable };
        self.ledger.enter(request, fate, detail);
        if fate == Fate::Answered {
            self.round.is_answered();
        }
        self.had_an_outcome();
        request
    }

    /// Enters a request that was sent as lost.
    pub(crate) fn lost(&mut self, asked: AskedRequest, kind: LossKind, detail: &str) {
        self.settle(asked, true, Fate::Lost(kind), detail);
    }

    /// Enters a request as lost whose stream was reset. Its connection lives, so no client repeats it by itself.
    pub(crate) fn lost_stream(&mut self, asked: AskedRequest, detail: &str) {
        self.enter(asked, true, Fate::Lost(LossKind::Reset), false, detail);
    }

    /// Enters a request of which no byte was sent.
    pub(crate) fn not_sent(&mut self, asked: AskedRequest, by: RefusedBy) {
        self.settle(asked, false, Fate::Refused(by), "");
    }

    /// Bytes have come behind the response to a request that was entered as answered.
    pub(crate) fn answered_twice(&mut self, request: EndedRequest, detail: &str) {
        self.ledger.answered_twice(request, detail);
    }

    /// The end of the connection was announced. It is no news to a client that leaves after one request, and may
    /// have asked for it.
    pub(crate) fn was_told(&mut self) {
        let stays = !matches!(self.kind, ClientKind::H1Fresh | ClientKind::H2Fresh);
        self.ledger.tally.announced += u64::from(stays);
    }

    /// The connection ended while it was idle, and without a word.
    pub(crate) fn closed_idle(&mut self) {
        self.ledger.tally.closed_idle += 1;
    }

    /// The ledger of a client that has ended.
    pub(crate) fn close(mut self) -> Ledger {
        std::mem::take(&mut self.ledger)
    }

    fn had_an_outcome(&mut self) {
        if !self.warm {
            self.warm = true;
            self.round.one_more_is_warm();
        }
    }
}

impl Drop for Tester {
    fn drop(&mut self) {
        // The trigger need not wait for a client that has ended, for any reason.
        self.had_an_outcome();
    }
}
