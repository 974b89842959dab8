//! What one client may use, and for how long it waits.

use std::net::SocketAddr;
use std::time::Duration;

/// Enough for a guest that asks a few services for each of some requests at once.
const REQUESTS: usize = 64;

/// Twice the requests, because a request that waits for a connection may have one made and then get
/// one that became free; and what may be idle.
const CONNECTIONS: usize = 2 * REQUESTS + IDLE_TOTAL;

/// A retransmitted SYN comes after 1, 3 and 7 s: two are waited for, and a DNS server that has to be
/// asked again after 5 s is as well.
const CONNECT: Duration = Duration::from_secs(10);

/// As long as the default time of a guest to its own head.
const HEAD: Duration = Duration::from_secs(30);

/// As long as others wait between two reads.
const BETWEEN_BYTES: Duration = Duration::from_secs(60);

/// Below the 5 s after which Node.js, Apache and uvicorn close an idle connection: the side that
/// sends should be the first to give it up, because a request that crosses with a close is lost. A
/// pool that is in use stays warm with less.
const IDLE: Duration = Duration::from_secs(4);

/// More would be a burst's, which is over.
const IDLE_PER_HOST: usize = 16;

/// Bounds a guest that asks many hosts of a wildcard.
const IDLE_TOTAL: usize = 64;

/// What the requests of one client may use, all together, and how long each may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Requests at once. One counts until its response's body has ended or was dropped, and until
    /// its own body is sent. One more is refused at once.
    pub requests: usize,
    /// Connections at once, idle ones among them. A request that needs one more waits for one, as
    /// long as it may wait for a connection.
    pub connections: usize,
    /// Bytes of the body of one response.
    pub response_body: Option<u64>,
    /// To a connection: look-up, connect and TLS handshake together.
    pub connect: Duration,
    /// From the connection, or from the last progress of the request's body, to the head of the
    /// response.
    pub head: Duration,
    /// Without a byte of the response's body while one is waited for; and without a byte of the
    /// request's body once the response has ended.
    pub between_bytes: Duration,
    /// How long an idle connection is kept.
    pub idle: Duration,
    /// Idle connections to one host.
    pub idle_per_host: usize,
    /// Idle connections to all hosts. With more, a connection is not kept after its request.
    pub idle_total: usize,
    /// Listeners of this process that no guest may reach, whatever is granted: health, and a control
    /// socket should it ever be TCP. One on an unspecified address stands for its port on every
    /// address of this machine.
    pub forbidden: Vec<SocketAddr>,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            requests: REQUESTS,
            connections: CONNECTIONS,
            response_body: None,
            connect: CONNECT,
            head: HEAD,
            between_bytes: BETWEEN_BYTES,
            idle: IDLE,
            idle_per_host: IDLE_PER_HOST,
            idle_total: IDLE_TOTAL,
            forbidden: Vec::new(),
        }
    }
}

/// What a guest asks for with one request. It can only wait less long than the [`ClientLimits`] say; zero
/// means that there is no wait at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// To a connection.
    pub connect: Option<Duration>,
    /// To the head of the response, `first-byte-timeout`.
    pub head: Option<Duration>,
    /// Between two pieces of the response's body.
    pub between_bytes: Option<Duration>,
}

impl Timeouts {
    /// The shorter of what is asked for and what is allowed.
    pub(crate) fn within(asked: Option<Duration>, allowed: Duration) -> Duration {
        asked.map_or(allowed, |asked| asked.min(allowed))
    }
}
