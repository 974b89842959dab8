//! Idle connections that another process goes on with: at an upgrade a client that pauses between two requests never
//! sees its connection closed.
//!
//! A connection goes over where nothing is owed on it and nothing of a request has come; what the kernel has of the
//! next one goes with the socket. Those with TLS do not go: their session is ours.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use host_lifecycle::{Guard, Tracker};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::peer::Peer;
use super::registry;

/// A connection without a request, for whoever goes on with it. Dropping it closes the socket.
#[derive(Debug)]
pub struct IdleConnection {
    /// The socket. It does not block.
    pub socket: OwnedFd,
    /// The address on which it was accepted, as the ready line prints it.
    pub listener: Arc<str>,
    /// Who is at its other end. It has no TLS.
    pub peer: Peer,
    /// How many requests it has brought. Of one that has brought none it is not known yet what it speaks.
    pub served: u64,
    /// What it has sent that says nothing yet: part of the preface of HTTP/2, at most.
    pub ahead: BytesMut,
    /// Keeps it in flight here, so that a stop waits until it has gone over.
    pub(super) guard: Option<Guard>,
}

impl IdleConnection {
    /// One that comes from elsewhere, with how many requests it has brought and what it has sent.
    #[must_use]
    pub fn new(
        socket: OwnedFd,
        listener: Arc<str>,
        peer: Peer,
        (served, ahead): (u64, BytesMut),
    ) -> Self {
        Self { socket, listener, peer, served, ahead, guard: None }
    }
}

/// Whether idle connections go over, and where to. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub struct Handing(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Read by each connection in each turn.
    is_on: AtomicBool,
    taker: Mutex<Option<UnboundedSender<IdleConnection>>>,
}

impl Handing {
    /// Has each connection go over as soon as it is idle: those that are now, and others when they come to it. As many
    /// come as there may be connections; what is not received is not closed before the receiver is dropped.
    #[must_use]
    pub fn begin(&self, connections: &Tracker) -> UnboundedReceiver<IdleConnection> {
        let (sender, receiver) = unbounded_channel();
        *self.taker() = Some(sender);
        self.0.is_on.store(true, Ordering::Relaxed);
        for one in connections.list() {
            if let Some(entry) = registry::entry(&one) {
                entry.tell_to_go_over();
            }
        }
        receiver
    }

    /// Has connections stay. The receiver still gets those that have gone before.
    pub fn end(&self) {
        self.0.is_on.store(false, Ordering::Relaxed);
        *self.taker() = None;
    }

    /// Whether there are connections in `connections` that are idle and have not gone over yet.
    #[must_use]
    pub fn is_awaited(connections: &Tracker) -> bool {
        let list = connections.list();
        list.iter().filter_map(registry::entry).any(|entry| entry.is_to_go_over())
    }

    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Relaxed)
    }

    /// Gives a connection away.
    ///
    /// # Errors
    /// The connection, if nobody takes it any more.
    pub(super) fn give(&self, connection: IdleConnection) -> Result<(), Box<IdleConnection>> {
        let sent = match &*self.taker() {
            Some(taker) => taker.send(connection).map_err(|unsent| Box::new(unsent.0)),
            None => return Err(Box::new(connection)),
        };
        if sent.is_err() {
            // Nobody receives any more. A connection that stays would ask again at once.
            self.end();
        }
        sent
    }

    fn taker(&self) -> MutexGuard<'_, Option<UnboundedSender<IdleConnection>>> {
        self.0.taker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
