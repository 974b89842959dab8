//! What the connections of the process add up to.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use host_shards::{OwnLines, Sharded};

use super::registry::ConnectionProtocol;
use super::tls::HandshakeOutcome;

/// What a connection came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionTransport {
    /// TCP.
    Tcp,
    /// A Unix socket.
    Unix,
}

/// Why a connection is refused that its client has one too many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRefusal {
    /// It has as many as one may have at once.
    ClientConnections,
    /// It opens them faster than one may.
    ClientConnectionRate,
}

impl ConnectionRefusal {
    const ALL: [Self; 2] = [Self::ClientConnections, Self::ClientConnectionRate];

    /// The word for it in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientConnections => "client-connections",
            Self::ClientConnectionRate => "client-connection-rate",
        }
    }
}

/// Why a connection is refused that has to begin with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyRefusal {
    /// Its peer is no trusted proxy.
    Untrusted,
    /// It begins with something else.
    Missing,
    /// Its header cannot be read.
    Malformed,
    /// Its header did not come in time.
    Late,
}

impl ProxyRefusal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Untrusted, Self::Missing, Self::Malformed, Self::Late];

    /// What metrics and the log call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Late => "late",
        }
    }
}

/// The error codes of HTTP/2, by their numbers (RFC 9113 §7).
const ERROR_CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// Counts connections since the start of the process. Cloning gives another handle on the same counts.
#[derive(Clone, Debug, Default)]
pub struct NetCounts(Arc<Sharded<OwnLines<Shard>>>);

#[derive(Debug, Default)]
struct Shard {
    tcp: AtomicU64,
    unix: AtomicU64,
    http1: AtomicU64,
    http2: AtomicU64,
    handshakes: [AtomicU64; HandshakeOutcome::ALL.len()],
    refused: [AtomicU64; ConnectionRefusal::ALL.len()],
    accept_waits: AtomicU64,
    resets: [AtomicU64; ERROR_CODES.len()],
    goaways: [AtomicU64; ERROR_CODES.len()],
    refused_proxies: [AtomicU64; ProxyRefusal::ALL.len()],
}

impl NetCounts {
    /// A connection was taken from the queue of a listener.
    pub(super) fn accepted(&self, over: ConnectionTransport) {
        let shard = self.0.mine();
        one_more(match over {
            ConnectionTransport::Tcp => &shard.tcp,
            ConnectionTransport::Unix => &shard.unix,
        });
    }

    /// A connection has said what it speaks.
    pub(super) fn speaks(&self, protocol: ConnectionProtocol) {
        let shard = self.0.mine();
        match protocol {
            ConnectionProtocol::Unknown => {}
            ConnectionProtocol::Http1 => one_more(&shard.http1),
            ConnectionProtocol::Http2 => one_more(&shard.http2),
        }
    }

    /// A TLS handshake has ended so.
    pub(super) fn handshake(&self, outcome: HandshakeOutcome) {
        one_more(&self.0.mine().handshakes[outcome as usize]);
    }

    /// A connection was refused.
    pub(super) fn refused(&self, why: ConnectionRefusal) {
        one_more(&self.0.mine().refused[why as usize]);
    }

    /// A listener waits before it accepts the next connection.
    pub(super) fn accept_waits(&self) {
        one_more(&self.0.mine().accept_waits);
    }

    /// A stream of HTTP/2 was reset by us before its end.
    pub(super) fn reset(&self, code: u32) {
        count_code(&self.0.mine().resets, code);
    }

    /// A peer was sent GOAWAY.
    pub(super) fn goaway(&self, code: u32) {
        count_code(&self.0.mine().goaways, code);
    }

    /// A connection was refused for want of a header of the PROXY protocol.
    pub(super) fn refused_proxy(&self, why: ProxyRefusal) {
        one_more(&self.0.mine().refused_proxies[why as usize]);
    }

    fn sum(&self, of: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.0.iter().map(|shard| of(shard).load(Ordering::Relaxed)).sum()
    }

    /// Connections that were accepted.
    #[must_use]
    pub fn accepted_over(&self, transport: ConnectionTransport) -> u64 {
        match transport {
            ConnectionTransport::Tcp => self.sum(|shard| &shard.tcp),
            ConnectionTransport::Unix => self.sum(|shard| &shard.unix),
        }
    }

    /// Connections whose first bytes have said that they speak this; 0 for [`ConnectionProtocol::Unknown`].
    #[must_use]
    pub fn speaking(&self, protocol: ConnectionProtocol) -> u64 {
        match protocol {
            ConnectionProtocol::Unknown => 0,
            ConnectionProtocol::Http1 => self.sum(|shard| &shard.http1),
            ConnectionProtocol::Http2 => self.sum(|shard| &shard.http2),
        }
    }

    /// TLS handshakes that have ended, by what they came to.
    #[must_use]
    pub fn handshakes(&self) -> [(HandshakeOutcome, u64); HandshakeOutcome::ALL.len()] {
        HandshakeOutcome::ALL
            .map(|outcome| (outcome, self.sum(|shard| &shard.handshakes[outcome as usize])))
    }

    /// Connections that were refused, by the word for why.
    #[must_use]
    pub fn refusals(&self) -> [(&'static str, u64); ConnectionRefusal::ALL.len()] {
        ConnectionRefusal::ALL
            .map(|why| (why.name(), self.sum(|shard| &shard.refused[why as usize])))
    }

    /// Times that a listener has waited because new connections came too fast.
    #[must_use]
    pub fn waits_to_accept(&self) -> u64 {
        self.sum(|shard| &shard.accept_waits)
    }

    /// Streams of HTTP/2 that were reset by us before their end, by the name of the error code.
    #[must_use]
    pub fn resets(&self) -> [(&'static str, u64); ERROR_CODES.len()] {
        array::from_fn(|code| (ERROR_CODES[code], self.sum(|shard| &shard.resets[code])))
    }

    /// Connections that were refused for want of a header of the PROXY protocol, by the name of the reason.
    #[must_use]
    pub fn refused_proxies(&self) -> [(&'static str, u64); ProxyRefusal::ALL.len()] {
        ProxyRefusal::ALL
            .map(|why| (why.name(), self.sum(|shard| &shard.refused_proxies[why as usize])))
    }

    /// GOAWAY frames that were sent, by the name of the error code.
    #[must_use]
    pub fn goaways(&self) -> [(&'static str, u64); ERROR_CODES.len()] {
        array::from_fn(|code| (ERROR_CODES[code], self.sum(|shard| &shard.goaways[code])))
    }
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// h2 sends no code that has no name.
fn count_code(counts: &[AtomicU64], code: u32) {
    if let Some(count) = usize::try_from(code).ok().and_then(|code| counts.get(code)) {
        one_more(count);
    }
}
