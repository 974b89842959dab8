//! Outgoing requests of a guest that a plugin of the operator's serves first.

use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use wasmtime_wasi_http::{Error as BodyError, WasiBody};

use super::next_handler::Passing;

/// Has a plugin serve the outgoing requests of one guest. The guest's store calls it and waits for the result.
pub trait EgressHandler: Send + Sync {
    /// Has the plugin serve a request. What it passes on goes out by `network`.
    fn send(self: Arc<Self>, request: Request<WasiBody>, network: NetworkEnd) -> Passing;
}

/// The network behind the plugin, as it is granted to the guest that asks. Cheap to clone.
#[derive(Clone)]
pub struct NetworkEnd(Arc<dyn Fn(Request<WasiBody>) -> NetworkSending + Send + Sync>);

/// A response that is waited for. Dropping it ends the request.
pub type NetworkSending =
    Pin<Box<dyn Future<Output = Result<Response<WasiBody>, BodyError>> + Send>>;

impl NetworkEnd {
    /// Where `send` sends requests.
    pub(super) fn new(
        send: impl Fn(Request<WasiBody>) -> NetworkSending + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(send))
    }

    /// Sends a request out, if the grants of the guest allow it.
    #[must_use]
    pub fn send(&self, request: Request<WasiBody>) -> NetworkSending {
        (self.0)(request)
    }
}

impl std::fmt::Debug for NetworkEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NetworkEnd")
    }
}
