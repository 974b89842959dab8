//! What the network is handed: the service that answers requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tokio::time::Instant;

use super::peer::Peer;
use super::request_body::RequestBody;

/// Answers requests. Handed to the network by whoever composes the process.
pub trait Service: Clone + Send + Sync + Unpin + 'static {
    /// The body of an answer. An error of it breaks the message on the wire.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// The handle for the connection from `peer`.
    #[must_use]
    fn connected(&self, peer: &Peer) -> Self;

    /// Answers one request, whose head has been read at `arrived`. Dropping the future abandons the request:
    /// the peer has gone.
    ///
    /// Nothing begins before the future is polled. `self` is the clone of the request's connection. No other connection writes to it: a request that needs
    /// the service for longer clones this handle, and so no counter of the process.
    fn call(
        self: &Arc<Self>,
        request: Request<RequestBody>,
        arrived: Instant,
    ) -> impl Future<Output = Response<Self::Body>> + Send + 'static;

    /// The whole HTTP/1 answer, as bytes, to a request that never became one. Asked once for each of them.
    fn refusal(&self, why: Refusal) -> Bytes;

    /// hyper, or h2 below it, has answered a request with this status and no body, because it did not take its head.
    fn answered_by_hyper(&self, status: StatusCode);
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
    /// Its client has as many connections as one may have. It may try again after this.
    ClientConnections {
        /// How long to wait.
        retry: Duration,
    },
    /// Its client opens connections faster than one may. It may try again after this.
    ClientConnectionRate {
        /// How long to wait.
        retry: Duration,
    },
    /// The stop cut it.
    Stopping,
}
