//! What the network is handed: the service that answers requests.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use super::request_body::RequestBody;

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
