//! What the process asks of a connection while hyper drives it.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use host_lifecycle::{Phase, PhaseWatch};

use super::registry::{Call, ConnectionEntry};

/// One of these at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessEvent {
    /// The drain has begun. Comes once.
    Draining,
    /// The stop cuts what is left. Comes once.
    Cut,
    /// A newcomer wants the place of this connection. May come again.
    RoomWanted,
    /// Another process goes on with this connection, once it is idle; or does not any more. May come again.
    GoesOver,
}

/// The events of one connection. Asking in each turn is cheap: a wait is polled only when it was woken, and so
/// no turn takes the locks on which all connections wait for a phase.
pub(super) struct ProcessEvents<'a> {
    phase: &'a PhaseWatch,
    entry: &'a ConnectionEntry,
    waits: FuturesUnordered<BoxFuture<'a, ProcessEvent>>,
}

impl<'a> ProcessEvents<'a> {
    /// The events of the connection that is registered as `entry`.
    pub(super) fn new(phase: &'a PhaseWatch, entry: &'a ConnectionEntry) -> Self {
        let events = Self { phase, entry, waits: FuturesUnordered::new() };
        for event in [ProcessEvent::Draining, ProcessEvent::Cut, ProcessEvent::RoomWanted] {
            events.wait_for(event);
        }
        events
    }

    /// The next event, if there is one. The task is woken when another one comes.
    pub(super) fn poll_next(&mut self, task: &mut Context<'_>) -> Option<ProcessEvent> {
        let Poll::Ready(event) = self.waits.poll_next_unpin(task) else { return None };
        if matches!(event, Some(ProcessEvent::RoomWanted | ProcessEvent::GoesOver)) {
            self.wait_for(ProcessEvent::RoomWanted);
        }
        event
    }

    fn wait_for(&self, event: ProcessEvent) {
        let (phase, entry) = (self.phase, self.entry);
        self.waits.push(Box::pin(async move {
            match event {
                ProcessEvent::Draining => phase.reached(Phase::Draining).await,
                ProcessEvent::Cut => phase.reached(Phase::Cut).await,
                ProcessEvent::RoomWanted | ProcessEvent::GoesOver => {
                    return match entry.called().await {
                        Call::MakeRoom => ProcessEvent::RoomWanted,
                        Call::GoOver => ProcessEvent::GoesOver,
                    };
                }
            }
            event
        }));
    }
}
