//! What the process asks of a connection while hyper drives it.

use std::pin::Pin;
use std::task::Context;

use host_lifecycle::{Phase, PhaseWatch};
use tokio::sync::futures::Notified;

use super::registry::ConnectionEntry;

/// One of these at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessEvent {
    /// The drain has begun. Comes once.
    Draining,
    /// The stop cuts what is left. Comes once.
    Cut,
    /// A newcomer wants the place of this connection. May come again.
    RoomWanted,
}

/// The events of one connection.
pub(super) struct ProcessEvents<'a, P> {
    entry: &'a ConnectionEntry,
    draining: Option<Pin<Box<P>>>,
    cut: Option<Pin<Box<P>>>,
    room_wanted: Pin<Box<Notified<'a>>>,
}

/// The events of the connection that is registered as `entry`.
pub(super) fn process_events<'a>(
    phase: &'a PhaseWatch,
    entry: &'a ConnectionEntry,
) -> ProcessEvents<'a, impl Future<Output = ()> + 'a> {
    ProcessEvents {
        entry,
        draining: Some(Box::pin(phase.reached(Phase::Draining))),
        cut: Some(Box::pin(phase.reached(Phase::Cut))),
        room_wanted: Box::pin(entry.room_wanted()),
    }
}

impl<P: Future<Output = ()>> ProcessEvents<'_, P> {
    /// The next event, if there is one. The task is woken when another one comes.
    pub(super) fn poll_next(&mut self, task: &mut Context<'_>) -> Option<ProcessEvent> {
        if is_reached(&mut self.draining, task) {
            return Some(ProcessEvent::Draining);
        }
        if is_reached(&mut self.cut, task) {
            return Some(ProcessEvent::Cut);
        }
        if self.room_wanted.as_mut().poll(task).is_ready() {
            self.room_wanted.set(self.entry.room_wanted());
            return Some(ProcessEvent::RoomWanted);
        }
        None
    }
}

fn is_reached(
    wait: &mut Option<Pin<Box<impl Future<Output = ()>>>>,
    task: &mut Context<'_>,
) -> bool {
    let reached = wait.as_mut().is_some_and(|wait| wait.as_mut().poll(task).is_ready());
    if reached {
        *wait = None;
    }
    reached
}
