//! The handler that a plugin passes requests on to.

use std::sync::Arc;

use http::{Request, Response};
use tokio::sync::oneshot;
use wasmtime_wasi_http::{Error as BodyError, WasiBody};

/// The authority through which a guest of wasi:http 0.2 passes a request on.
pub const NEXT_HOST: &str = "next.host";

/// The handler that a plugin passes requests on to. The plugin's store calls it and waits for the result.
pub trait NextHandler: Send + Sync {
    /// Passes a request on.
    ///
    /// # Errors
    /// What the plugin is told if it may not.
    fn pass(self: Arc<Self>, request: Request<WasiBody>) -> Result<Passing, BodyError>;
}

/// The response to a request that was passed on; none comes once its sender is gone. Dropping it, or the body of
/// the response, ends the exchange behind it.
pub type Passing = oneshot::Receiver<Response<WasiBody>>;
