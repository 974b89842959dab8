//! The sockets of operators: those that a predecessor gives, and those that a successor may take.

use std::fmt::Display;
use std::net::SocketAddr;

use host_handover::ListenerKind;

use crate::control::{ControlOpening, OperatorsHandle, SocketChoice, TcpOpening};
use crate::upgrade::{GivenListener, Predecessor, Upgrader};

/// Where they come from, and where they go.
pub(super) struct OperatorSockets<'a> {
    upgrader: &'a Upgrader,
    predecessor: Option<&'a Predecessor>,
}

impl<'a> OperatorSockets<'a> {
    pub(super) fn new(upgrader: &'a Upgrader, predecessor: Option<&'a Predecessor>) -> Self {
        Self { upgrader, predecessor }
    }

    /// A TCP address. Nobody is answered there before the predecessor gives way.
    pub(super) fn tcp(&self, kind: ListenerKind, address: SocketAddr) -> TcpOpening {
        let given = self.given(kind, &address).map(|given| given.socket);
        TcpOpening::new(address, given, self.upgrader.gate_of(self.predecessor.is_some()))
    }

    /// The control socket.
    pub(super) fn control(&self, choice: SocketChoice) -> ControlOpening {
        let given = match &choice {
            SocketChoice::Path(path) => self.given(ListenerKind::Control, &path.display()),
            SocketChoice::Off | SocketChoice::Default => None,
        };
        let given = given.map(|given| (given.socket, given.lock));
        ControlOpening::new(choice, given, self.upgrader.gate_of(self.predecessor.is_some()))
    }

    /// A successor that is configured to listen there may take it.
    pub(super) fn offer(&self, kind: ListenerKind, address: impl Display, handle: OperatorsHandle) {
        self.upgrader.offers().operators(kind, address.to_string(), handle);
    }

    fn given(&self, kind: ListenerKind, address: &dyn Display) -> Option<GivenListener> {
        self.predecessor?.take(kind, &address.to_string())
    }
}
