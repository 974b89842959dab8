//! One connection, from its first byte to its close.

use std::sync::Arc;
use std::time::Duration;

use host_lifecycle::{Guard, PhaseWatch};
use tokio::time::Instant;
use tracing::debug;

use super::connection_end::ConnectionEnd;
use super::context::ConnectionContext;
use super::peer::Peer;
use super::preface::{self, Opening};
use super::registry::{ConnectionEntry, ConnectionProtocol};
use super::room::{NoRoom, Place, Room};
use super::service::{Refusal, Service};
use super::socket::Socket;
use super::{close, h1, h2};

/// A peer that reads nothing may hold up an answer of ours this long, when we want to be rid of it.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Serves a connection until its end. `guard` keeps it registered; dropping the future drops the
/// socket. `entry` is the one under which the guard is registered.
pub(super) async fn serve<S: Service>(
    socket: Socket,
    context: ConnectionContext,
    service: S,
    room: Arc<Room>,
    entry: Arc<ConnectionEntry>,
    mut guard: Guard,
) {
    let accepted = Instant::now();
    let service = service.connected(&Peer { address: entry.address() });
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
            speaks(&entry, &context, ConnectionProtocol::Http1);
            h1::serve(&socket, &entry, (accepted, bytes), &context, &service).await
        }
        Opening::Http2(bytes) => {
            speaks(&entry, &context, ConnectionProtocol::Http2);
            h2::serve(&socket, &entry, (accepted, bytes), &context, &service).await
        }
        Opening::Nothing => ConnectionEnd::Finished,
        Opening::Stuck => ConnectionEnd::Gone,
    };
    debug!(connection = guard.id(), end = end.name(), "connection ended");
    entry.set_place(false);
    let leaving = place.map(Place::leave);
    if end.is_cut(context.phase.now()) {
        guard.mark_cut();
    }
    match end {
        ConnectionEnd::AnsweredByHyper(status) => {
            service.answered_by_hyper(status);
            close::politely(&socket, &context.phase).await;
        }
        ConnectionEnd::Finished | ConnectionEnd::Flooded => {
            close::politely(&socket, &context.phase).await;
        }
        ConnectionEnd::Refused(why) => refuse(&socket, &service.refusal(why), &context.phase).await,
        ConnectionEnd::Dropped | ConnectionEnd::Broken | ConnectionEnd::Gone => {}
    }
    drop(leaving);
}

/// Takes note of what the first bytes said.
fn speaks(entry: &ConnectionEntry, context: &ConnectionContext, protocol: ConnectionProtocol) {
    entry.speaks(protocol);
    context.counts.speaks(protocol);
}

/// Says why it ends to a peer whose request has not become one.
async fn refuse(socket: &Socket, answer: &[u8], phase: &PhaseWatch) {
    close::write_all(socket, answer, LAST_WORDS).await;
    close::politely(socket, phase).await;
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
