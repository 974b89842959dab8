//! One change on its way: asked for, queued, and attempted until it is over.

use std::any::Any;
use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::outcome::{SwapCommand, SwapOutcome, Trigger};
use crate::component::{Held, Keeper};

/// A change that has been asked for. It waits in the queue for its first attempt.
pub(super) struct QueuedChange {
    pub(super) command: SwapCommand,
    pub(super) trigger: Trigger,
    answer: oneshot::Sender<SwapOutcome>,
    compile_started: Option<oneshot::Sender<()>>,
    /// Makes a stop wait until the outcome has been told.
    kept: Box<dyn Any + Send>,
}

/// The other end of a [`QueuedChange`].
#[derive(Debug)]
pub(super) struct PendingChange {
    /// What becomes of it.
    pub(super) outcome: oneshot::Receiver<SwapOutcome>,
    /// Is told if it waits for a compiler. From then on another change that wants the same code shares
    /// that compiler.
    pub(super) compile_started: Option<oneshot::Receiver<()>>,
}

impl QueuedChange {
    /// A change, and the end at which its outcome arrives.
    pub(super) fn new(
        command: SwapCommand,
        trigger: Trigger,
        keeper: &Keeper,
    ) -> (Self, PendingChange) {
        let (answer, outcome) = oneshot::channel();
        let (compile_started, starts) = oneshot::channel();
        let kept = keeper.keep(format!("swap asked={}", trigger.name()));
        let compile_started = Some(compile_started);
        let queued = Self { command, trigger, answer, compile_started, kept };
        (queued, PendingChange { outcome, compile_started: Some(starts) })
    }
}

/// A change that has had its first attempt.
pub(super) struct Change {
    queued: QueuedChange,
    id: ChangeId,
    /// So far.
    pub(super) attempts: usize,
    /// The code that was compiled for it.
    held: Vec<Held>,
    /// Components that changes asked for later have decided about meanwhile. They stay as they are.
    settled: BTreeSet<Arc<str>>,
}

/// Which change it is.
#[derive(Clone, Copy)]
pub(super) struct ChangeId {
    /// Counts up: a change that was asked for later has a greater number.
    pub(super) number: u64,
    pub(super) trigger: Trigger,
    /// Its first attempt.
    pub(super) began: Instant,
}

impl Change {
    /// The change with this number, before its first attempt.
    pub(super) fn new(queued: QueuedChange, number: u64) -> Self {
        let id = ChangeId { number, trigger: queued.trigger, began: Instant::now() };
        Self { queued, id, attempts: 0, held: Vec::new(), settled: BTreeSet::new() }
    }

    pub(super) fn id(&self) -> ChangeId {
        self.id
    }

    pub(super) fn command(&self) -> &SwapCommand {
        &self.queued.command
    }

    pub(super) fn settled(&self) -> &BTreeSet<Arc<str>> {
        &self.settled
    }

    /// Waits until the outcome is not wanted any more. A change that an operator has asked for is
    /// carried out even if the client has gone.
    pub(super) async fn abandoned(&mut self) {
        match self.queued.trigger {
            Trigger::Operator => pending().await,
            Trigger::Hangup | Trigger::Watch | Trigger::Registry | Trigger::Canary => {
                self.queued.answer.closed().await;
            }
        }
    }

    /// Where to tell, once, that it waits for a compiler.
    pub(super) fn take_compile_started(&mut self) -> Option<oneshot::Sender<()>> {
        self.queued.compile_started.take()
    }

    /// Keeps this code in memory for the next attempt.
    pub(super) fn hold(&mut self, code: Vec<Held>) {
        self.held.extend(code);
    }

    /// Leaves these components alone from now on: changes that were asked for later have decided about
    /// them.
    pub(super) fn settle(&mut self, names: BTreeSet<Arc<str>>) {
        self.settled.extend(names);
    }

    /// Tells the outcome. A stop need not wait for this change any more.
    pub(super) fn finish(self, outcome: SwapOutcome) {
        let QueuedChange { answer, kept, .. } = self.queued;
        // The client may have gone.
        answer.send(outcome).ok();
        drop(kept);
    }
}
