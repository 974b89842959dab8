//! What every connection of the process shares.

use std::sync::Arc;
use std::time::Duration;

use host_clock::MinRate;
use host_lifecycle::{AcceptGate, PhaseWatch, Tracker};

use super::client_bounds::ClientBounds;
use super::counts::NetCounts;
use super::handing::Handing;
use super::room::Room;
use super::scarcity::Scarcity;

/// What a connection may do and for how long.
#[derive(Clone, Copy, Debug)]
pub struct PeerLimits {
    /// From the first byte of a head, or from accept for the first one, to its end.
    pub head: Duration,
    /// A TLS handshake, from its beginning to its end.
    pub handshake: Duration,
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
impl PeerLimits {
    /// Those of tests, which are on the paused clock.
    pub(super) const TEST: Self = Self {
        head: Duration::from_secs(10),
        handshake: Duration::from_secs(7),
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
pub struct ConnectionContext {
    /// Tells when to leave.
    pub phase: PhaseWatch,
    /// Tells whether to accept.
    pub gate: AcceptGate,
    /// Tells whether idle connections go over to another process.
    pub handing: Handing,
    /// Where connections are registered.
    pub connections: Tracker,
    /// Where they are counted.
    pub counts: NetCounts,
    /// What they may do.
    pub limits: PeerLimits,
    /// How many connections each client may have, and how fast new ones come.
    pub clients: Arc<ClientBounds>,
    /// Who waits for instances.
    pub scarcity: Arc<Scarcity>,
    /// Room for all of them together.
    pub room: Arc<Room>,
}
