//! The deadlines of an operator's connection: what it waits for, and until when.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// From accept, or from the first byte of a later request, to the end of its head; and the same
/// again for a body. Operators' tools are near and send both at once.
pub(super) const REQUEST_IN: Duration = Duration::from_secs(5);

/// Between two requests.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// A peer that takes no byte of an answer for this long is given up.
pub(super) const STALLED: Duration = Duration::from_secs(5);

/// What a connection waits for. Its socket, its service and its answers say how far it is; the limit of
/// connections reads since when the peer is waited for. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Deadlines(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    stage: Stage,
    /// When that began.
    since: Instant,
    /// Since when the peer takes no bytes.
    blocked: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A head that has begun, or the first one.
    Head,
    /// The next request.
    Idle,
    /// A body, whose reader has a bound of its own.
    Body,
    /// What was asked for, which has bounds of its own, or the rest of its answer.
    Working,
}

impl Deadlines {
    /// Those of a connection that has just been accepted.
    pub(super) fn start() -> Self {
        Self(Arc::new(Mutex::new(State {
            stage: Stage::Head,
            since: Instant::now(),
            blocked: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_stage(&self, stage: Stage) {
        let mut state = self.state();
        (state.stage, state.since) = (stage, Instant::now());
    }

    /// The head of a request has come.
    pub(super) fn head_received(&self) {
        self.set_stage(Stage::Body);
    }

    /// All of a request has come: it is being carried out.
    pub(super) fn request_received(&self) {
        self.set_stage(Stage::Working);
    }

    /// Its answer has been handed over, or dropped.
    pub(super) fn answer_sent(&self) {
        self.set_stage(Stage::Idle);
    }

    /// Bytes have come: the first ones of a request begin its time.
    pub(super) fn bytes_read(&self) {
        if self.state().stage == Stage::Idle {
            self.set_stage(Stage::Head);
        }
    }

    /// The peer has taken bytes, or takes none.
    pub(super) fn bytes_written(&self, blocked: bool) {
        let mut state = self.state();
        state.blocked = blocked.then(|| state.blocked.unwrap_or_else(Instant::now));
    }

    /// When the peer is given up; none while the host has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        match (state.blocked, state.stage) {
            (Some(since), _) => Some(since + STALLED),
            (None, Stage::Head) => Some(state.since + REQUEST_IN),
            (None, Stage::Idle) => Some(state.since + IDLE),
            (None, Stage::Body | Stage::Working) => None,
        }
    }

    /// Since when the peer keeps the host waiting; none if the host has something to do.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        match (state.blocked, state.stage) {
            (Some(since), _) => Some(since),
            (None, Stage::Head | Stage::Idle | Stage::Body) => Some(state.since),
            (None, Stage::Working) => None,
        }
    }
}
