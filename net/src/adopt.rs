//! Going on with connections that another process has accepted.

use std::io;
use std::sync::Arc;

use socket2::SockRef;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::connection::{self, Before};
use super::context::ConnectionContext;
use super::handing::IdleConnection;
use super::registry::ConnectionEntry;
use super::service::Service;
use super::socket::Socket;

/// Takes in connections of one listener that were accepted elsewhere. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Adopter<S> {
    name: Arc<str>,
    context: ConnectionContext,
    service: S,
    runtime: Handle,
}

impl<S: Service> Adopter<S> {
    pub(super) fn new(name: Arc<str>, context: ConnectionContext, service: S) -> Self {
        Self { name, context, service, runtime: Handle::current() }
    }

    /// The address of its listener, as the ready line prints it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Serves a connection on from where it stands, in a task of its own.
    ///
    /// # Errors
    /// When the reactor does not take the socket, which is closed then.
    pub fn adopt(&self, idle: IdleConnection) -> io::Result<()> {
        let IdleConnection { socket, peer, served, ahead, .. } = idle;
        let is_unix = SockRef::from(&socket).local_addr()?.as_socket().is_none();
        let _inside = self.runtime.enter();
        let socket = Socket::from_fd(socket, is_unix)?;
        let context = self.context.clone();
        let entry = ConnectionEntry::new(peer.address, self.name.clone());
        let guard = context.connections.guard(entry.clone());
        let service = self.service.clone();
        let before = Before { accepted: Instant::now(), served, ahead };
        let life = connection::adopt((socket, peer, before), (context, service), (entry, guard));
        drop(self.runtime.spawn(life));
        Ok(())
    }
}
