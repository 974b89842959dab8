//! One connection, from its first byte to its close.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::flow::{Flow, Reading};
use super::info::{Info, Protocol};
use super::preface::{self, Opening};
use super::socket::Socket;
use super::{Context, Refusal, Service, close, h1, h2};
use crate::lifecycle::{Guard, Phase};

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
}

/// After the cut, answers of 503 and broken streams have this long to leave the process.
pub(super) const CUT_FLUSH: Duration = Duration::from_millis(500);

/// A peer that reads nothing may hold up an answer of ours this long, when we want to be rid of it.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Serves a connection until its end. `guard` keeps it registered; dropping the future drops the
/// socket. `info` is the entry under which the guard is registered.
pub(super) async fn serve<S: Service>(
    socket: Socket,
    context: Context,
    service: S,
    info: Arc<Info>,
    mut guard: Guard,
) {
    let accepted = Instant::now();
    let socket = Arc::new(socket);
    let end = match preface::detect(&socket, &context).await {
        Opening::Http1(bytes) => {
            let flow = Flow::new(Reading::first_head(accepted), bytes, accepted);
            info.opened(Protocol::Http1, &flow);
            h1::serve(&socket, &flow, &context, &service).await
        }
        Opening::Http2(bytes) => {
            let flow = Flow::new(Reading::Free, bytes, accepted);
            info.opened(Protocol::Http2, &flow);
            h2::serve(&socket, &flow, &context, &service).await
        }
        Opening::Nothing => End::Finished,
        Opening::Stuck => End::Gone,
    };
    debug!(connection = guard.id(), ?end, "connection ended");
    match end {
        End::Finished => close::politely(&socket, &context.phase).await,
        End::Refused(why) => {
            if why == Refusal::Stopping {
                guard.mark_cut();
            }
            close::write_all(&socket, &service.refusal(why), LAST_WORDS).await;
            close::politely(&socket, &context.phase).await;
        }
        End::Broken if context.phase.now() == Phase::Cut => guard.mark_cut(),
        End::Dropped => guard.mark_cut(),
        End::Broken | End::Gone => {}
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
