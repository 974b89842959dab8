//! One connection, from its first byte to its close.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context as Task;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::preface::{self, Opening};
use super::registry::{Entry, Protocol};
use super::room::{NoRoom, Place};
use super::socket::Socket;
use super::{Context, Refusal, Room, Service, close, h1, h2};
use host_lifecycle::{Guard, Phase, PhaseWatch};

/// How a protocol left its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Everything owed is written: close politely.
    Finished,
    /// A request's head has only half arrived; it is told why and closed politely.
    Refused(Refusal),
    /// An answer was broken off; nothing more can be said.
    Broken,
    /// The peer has left or is unreachable.
    Gone,
    /// Ended by force with bytes owed.
    Dropped,
    /// The peer sends nothing but frames that bring nothing, and has been told.
    Flooded,
}

/// After the cut, answers of 503 and broken streams have this long to leave the process.
pub(super) const CUT_FLUSH: Duration = Duration::from_millis(500);

/// The kernel has, or takes, bytes of which the reactor has not told yet: it does so in its next turn. Until
/// then a connection whose deadline has passed waits, and looks again after this.
pub(super) const REACTOR_TURN: Duration = Duration::from_millis(10);

/// Looks into the kernel that may find something of which the reactor then does not tell, one after the
/// other.
pub(super) const LOOKS: u32 = 100;

/// A peer that reads nothing may hold up an answer of ours this long, when we want to be rid of it.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Serves a connection until its end. `guard` keeps it registered; dropping the future drops the
/// socket. `entry` is the one under which the guard is registered.
pub(super) async fn serve<S: Service>(
    socket: Socket,
    context: Context,
    service: S,
    room: Arc<Room>,
    entry: Arc<Entry>,
    mut guard: Guard,
) {
    let accepted = Instant::now();
    let socket = Arc::new(socket);
    let place = match room.place(&context.phase).await {
        Ok(place) => place,
        Err(NoRoom) => {
            return refuse(&socket, &service.refusal(Refusal::NoRoom), &context.phase).await;
        }
    };
    entry.set_place(true);
    let end = match preface::detect(&socket, &entry, &context).await {
        Opening::Http1(bytes) => {
            entry.speaks(Protocol::Http1);
            h1::serve(&socket, &entry, (accepted, bytes), &context, &service).await
        }
        Opening::Http2(bytes) => {
            entry.speaks(Protocol::Http2);
            h2::serve(&socket, &entry, (accepted, bytes), &context, &service).await
        }
        Opening::Nothing => End::Finished,
        Opening::Stuck => End::Gone,
    };
    debug!(connection = guard.id(), ?end, "connection ended");
    entry.set_place(false);
    let leaving = place.map(Place::leave);
    if end.is_cut(context.phase.now()) {
        guard.mark_cut();
    }
    match end {
        End::Finished | End::Flooded => close::politely(&socket, &context.phase).await,
        End::Refused(why) => refuse(&socket, &service.refusal(why), &context.phase).await,
        End::Dropped | End::Broken | End::Gone => {}
    }
    drop(leaving);
}

impl End {
    /// Whether the stop has ended it by force, or left bytes owed.
    fn is_cut(self, phase: Phase) -> bool {
        match self {
            Self::Refused(why) => why == Refusal::Stopping,
            Self::Broken => phase == Phase::Cut,
            Self::Dropped => true,
            Self::Finished | Self::Gone | Self::Flooded => false,
        }
    }
}

/// Whether something that is waited for has come: said once.
pub(super) fn reached(
    wait: &mut Option<Pin<Box<impl Future<Output = ()>>>>,
    task: &mut Task<'_>,
) -> bool {
    let reached = wait.as_mut().is_some_and(|wait| wait.as_mut().poll(task).is_ready());
    if reached {
        *wait = None;
    }
    reached
}

/// Says why it ends to a peer whose request has not become one.
async fn refuse(socket: &Socket, answer: &[u8], phase: &PhaseWatch) {
    close::write_all(socket, answer, LAST_WORDS).await;
    close::politely(socket, phase).await;
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
