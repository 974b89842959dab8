//! Sockets: listeners, accept, and one connection from its first byte to its close.
//!
//! ```text
//! listener ─→ accept ─→ connection ─→ (tls/) ─→ preface ─┬→ h1/ ─┐
//!                │           │                           └→ h2/ ─┴→ close
//!          listener_drain  room, registry                   │
//!      (a stop closes it without losing                  service (handed in)
//!                the queue)
//! ```
//!
//! May not know wasmtime, components or what the service does with a request.

mod accept;
mod adopt;
mod client_bounds;
mod close;
mod connection;
mod connection_end;
#[cfg(test)]
mod connection_model;
mod context;
mod counts;
mod h1;
mod h2;
mod handing;
mod handshakes;
mod inherit;
mod listener;
mod listener_drain;
mod origin;
mod out_rate;
mod peer;
mod preface;
mod process_events;
mod proxy_protocol;
mod queue;
mod rare_line;
mod registry;
mod request_body;
mod room;
mod scarcity;
mod service;
mod socket;
mod stream;
mod timer;
mod tls;
mod wire;

pub use accept::Acceptor;
pub use adopt::Adopter;
pub use client_bounds::{ClientBounds, ClientConnectionLimits};
pub use context::{ConnectionContext, PeerLimits};
pub use counts::{ConnectionRefusal, ConnectionTransport, NetCounts, ProxyRefusal};
pub use handing::{Handing, IdleConnection};
pub use inherit::{Giver, InheritError, inherit};
pub use listener::{BindError, ListenAddress, Listener, bind, warn_of_refusals};
pub use origin::SocketOrigin;
pub use peer::{Peer, TlsPeer};
pub use queue::{ListenerHandle, ListenerShare};
pub use registry::{Activity, ConnectionInfo, ConnectionProtocol, connections};
pub use request_body::{BodyError, RequestBody};
pub use room::Room;
pub use scarcity::{Hurry, Scarcity};
pub use service::{Refusal, Service};
pub use tls::{HandshakeOutcome, TlsConfigs};
