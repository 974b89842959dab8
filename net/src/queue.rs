//! The queue of one listener, from which connections are taken; and handles of it for who hands it on.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Weak};

use host_lifecycle::{AcceptGate, ListenerGate};
use host_system::unix_socket::OwnedPath;
use socket2::SockRef;
use tokio::net::{TcpListener, UnixListener};

use super::counts::ConnectionTransport;
use super::listener::Listener;
use super::origin::SocketOrigin;
use super::socket::Socket;

/// A listening socket with its path, and whose it is. Dropping it closes the socket.
#[derive(Debug)]
pub(super) struct Queue {
    socket: QueueSocket,
    pub(super) path: Option<OwnedPath>,
    origin: SocketOrigin,
    pub(super) gate: ListenerGate,
}

#[derive(Debug)]
pub(super) enum QueueSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Queue {
    /// The queue of a listener, for the runtime that this is called in. Behind `gate` another process may accept.
    pub(super) fn new(listener: Listener, gate: &AcceptGate) -> io::Result<Arc<Self>> {
        let Listener { socket, path, origin, is_shared, .. } = listener;
        let is_tcp = socket.local_addr()?.as_socket().is_some();
        let socket = match is_tcp {
            true => QueueSocket::Tcp(TcpListener::from_std(socket.into())?),
            false => QueueSocket::Unix(UnixListener::from_std(socket.into())?),
        };
        Ok(Arc::new(Self { socket, path, origin, gate: gate.of_listener(is_shared) }))
    }

    pub(super) fn transport(&self) -> ConnectionTransport {
        match self.socket {
            QueueSocket::Tcp(_) => ConnectionTransport::Tcp,
            QueueSocket::Unix(_) => ConnectionTransport::Unix,
        }
    }

    pub(super) fn socket(&self) -> &QueueSocket {
        &self.socket
    }

    pub(super) fn sock_ref(&self) -> SockRef<'_> {
        match &self.socket {
            QueueSocket::Tcp(listener) => SockRef::from(listener),
            QueueSocket::Unix(listener) => SockRef::from(listener),
        }
    }

    /// Takes the next connection. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<Socket> {
        match &self.socket {
            QueueSocket::Tcp(listener) => Ok(Socket::Tcp(listener.accept().await?.0)),
            QueueSocket::Unix(listener) => Ok(Socket::Unix(listener.accept().await?.0)),
        }
    }

    /// Whether a close leaves what is in it to somebody else.
    pub(super) fn is_others(&self) -> bool {
        self.origin == SocketOrigin::Inherited || !self.gate.is_ours()
    }
}

/// A handle of a listener, which keeps it no longer open than it is.
#[derive(Clone, Debug)]
pub struct ListenerHandle(Weak<Queue>);

/// What somebody else needs of a listener to accept from it too.
#[derive(Debug)]
pub struct ListenerShare {
    /// The same socket: what is in its queue goes to whoever accepts first.
    pub socket: OwnedFd,
    /// The file of the lock on its path, where it has one.
    pub lock: Option<OwnedFd>,
    /// Who has made it.
    pub origin: SocketOrigin,
}

impl ListenerHandle {
    pub(super) fn new(queue: &Arc<Queue>) -> Self {
        Self(Arc::downgrade(queue))
    }

    /// What another process needs of it; none if it is closed.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn share(&self) -> io::Result<Option<ListenerShare>> {
        let Some(queue) = self.0.upgrade() else { return Ok(None) };
        let socket = queue.sock_ref().as_fd().try_clone_to_owned()?;
        let lock = queue.path.as_ref().map(OwnedPath::share_lock).transpose()?.flatten();
        Ok(Some(ListenerShare { socket, lock, origin: queue.origin }))
    }

    /// Takes note of whether another process holds it too, and accepts from it while this one does not.
    pub fn set_shared(&self, is_shared: bool) {
        if let Some(queue) = self.0.upgrade() {
            queue.gate.set_shared(is_shared);
        }
    }
}
