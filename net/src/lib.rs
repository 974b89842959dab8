//! Sockets: listeners, accept, and one connection from its first byte to its close.
//!
//! ```text
//! listen ─→ accept ─→ connection ─→ preface ─┬→ h1 ─┐
//!   ▲          │                             └→ h2 ─┴→ close
//! bind        door (a stop closes it           │
//!              without losing the queue)    Service (handed in)
//! ```
//!
//! May not know wasmtime, components or what the service does with a request.

mod accept;
mod close;
mod connection;
#[cfg(test)]
mod connection_model;
mod connection_state;
mod door;
mod framing;
mod h1;
mod h1_wire;
mod h2;
mod h2_frames;
mod h2_interim;
mod h2_streams;
mod h2_timer;
mod h2_wire;
mod handshakes;
mod listen;
mod out_rate;
mod preface;
mod registry;
mod request_body;
mod room;
mod scarcity;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use host_manifest::MinRate;
use http::{Request, Response};
use http_body::Body;

pub use accept::Acceptor;
pub use listen::{Address, BindError, Listener, bind, warn_of_refusals};
pub use registry::{ConnectionInfo, Doing, Protocol, connections};
pub use request_body::{BodyError, RequestBody};
pub use room::Room;
pub use scarcity::Hurry;
pub use scarcity::Scarcity;

use host_lifecycle::{PhaseWatch, Tracker};

/// Answers requests. Handed to the network by whoever composes the process.
pub trait Service: Clone + Send + Sync + Unpin + 'static {
    /// The body of an answer. An error of it breaks the message on the wire.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// Answers one request. Dropping the future abandons the request: the peer has gone.
    fn call(
        &self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<Self::Body>> + Send + 'static;

    /// The whole HTTP/1 answer, as bytes, to a request that never became one.
    fn refusal(&self, why: Refusal) -> Bytes;
}

/// Why a request that has only half arrived is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its head did not arrive in time.
    HeadTooSlow,
    /// It is no HTTP; the text says why.
    Malformed(&'static str),
    /// There are as many connections as there may be.
    NoRoom,
    /// The stop cut it.
    Stopping,
}

/// What a connection may do and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte of a head, or from accept for the first one, to its end.
    pub head: Duration,
    /// Idle between two requests.
    pub keep_alive: Duration,
    /// A peer that takes no byte of an answer for this long is given up.
    pub stall: Duration,
    /// A peer that takes an answer slower than this, while bytes of it wait, is given up.
    pub min_rate: Option<MinRate>,
    /// During a stop, an idle HTTP/1 connection may still send its next request for this long.
    pub linger: Duration,
    /// Bytes of one request head.
    pub header_size: usize,
    /// Headers in one request.
    pub headers: usize,
}

#[cfg(test)]
impl Limits {
    /// Those of tests, which are on the paused clock.
    const TEST: Self = Self {
        head: Duration::from_secs(10),
        keep_alive: Duration::from_secs(75),
        stall: Duration::from_secs(30),
        min_rate: None,
        linger: Duration::from_secs(1),
        header_size: 8192,
        headers: 100,
    };
}

/// What every connection of the process shares.
#[derive(Clone, Debug)]
pub struct Context {
    /// Tells when to leave.
    pub phase: PhaseWatch,
    /// Where connections are registered.
    pub connections: Tracker,
    /// What they may do.
    pub limits: Limits,
    /// Who waits for instances.
    pub scarcity: Arc<Scarcity>,
}
