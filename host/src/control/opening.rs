//! How the sockets of operators come to be: bound here, or held by another host too, which hands them on.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

use host_lifecycle::{AcceptGate, ListenerGate};
use host_system::unix_socket::OwnedPath;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

/// A TCP address where operators are answered, with the socket that is there already, if another host has it.
#[derive(Debug)]
pub struct TcpOpening {
    address: SocketAddr,
    given: Option<OwnedFd>,
    gate: ListenerGate,
}

impl From<SocketAddr> for TcpOpening {
    /// One that is to be bound, and that nobody else has.
    fn from(address: SocketAddr) -> Self {
        let gate = AcceptGate::new(true).of_listener(false);
        Self { address, given: None, gate }
    }
}

impl TcpOpening {
    /// The socket that is `given` is used, or else one is bound. Behind `gate` another host may accept.
    pub fn new(address: SocketAddr, given: Option<OwnedFd>, gate: ListenerGate) -> Self {
        Self { address, given, gate }
    }

    /// Where it is to be.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens, to be accepted from on `runtime`.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub(super) fn listen(self, backlog: i32, runtime: &Handle) -> io::Result<Gated<TcpListener>> {
        let Self { address, given, gate } = self;
        let listener = match given {
            Some(socket) => StdTcpListener::from(socket),
            None => {
                let listener = StdTcpListener::bind(address)?;
                SockRef::from(&listener).listen(backlog)?;
                listener
            }
        };
        listener.set_nonblocking(true)?;
        let _inside = runtime.enter();
        Ok(Gated { listener: Arc::new(TcpListener::from_std(listener)?), gate })
    }
}

/// A listener behind which another host may accept.
#[derive(Debug)]
pub(super) struct Gated<L> {
    pub(super) listener: Arc<L>,
    pub(super) gate: ListenerGate,
}

impl<L: AsFd + Send + Sync + 'static> Gated<L> {
    /// A handle for who hands it on.
    pub(super) fn handle(&self) -> OperatorsHandle {
        OperatorsHandle::new(&self.listener, None, self.gate.clone())
    }
}

/// A handle of a listener of operators, which keeps it no longer open than it is.
#[derive(Clone)]
pub struct OperatorsHandle {
    socket: Weak<dyn AsFd + Send + Sync>,
    path: Option<Arc<OwnedPath>>,
    gate: ListenerGate,
}

impl fmt::Debug for OperatorsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorsHandle").field("path", &self.path).finish_non_exhaustive()
    }
}

impl OperatorsHandle {
    pub(super) fn new(
        socket: &Arc<impl AsFd + Send + Sync + 'static>,
        path: Option<Arc<OwnedPath>>,
        gate: ListenerGate,
    ) -> Self {
        let socket = Arc::downgrade(socket);
        Self { socket, path, gate }
    }

    /// The socket, and the file of the lock on its path, if it has one; none if it is closed.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn share(&self) -> io::Result<Option<(OwnedFd, Option<OwnedFd>)>> {
        let Some(socket) = self.socket.upgrade() else { return Ok(None) };
        let lock = self.path.as_ref().map(|path| path.share_lock()).transpose()?.flatten();
        Ok(Some((socket.as_fd().try_clone_to_owned()?, lock)))
    }

    /// Takes note of whether another host holds it too, and accepts from it while this one does not.
    pub fn set_shared(&self, is_shared: bool) {
        self.gate.set_shared(is_shared);
    }

    /// Another host has taken over, this listener or all but this one: its path is the other one's, or is removed, so
    /// that only the other one is found.
    pub fn retire(&self) {
        match &self.path {
            Some(path) if self.gate.is_open() => path.remove(),
            Some(path) => path.disown(),
            None => {}
        }
    }
}
