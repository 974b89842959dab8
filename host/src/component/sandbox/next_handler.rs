//! The handler that a plugin passes requests on to.

use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use wasmtime_wasi_http::{Error as BodyError, WasiBody};

/// The authority through which a guest of wasi:http 0.2 passes a request on.
pub const NEXT_HOST: &str = "next.host";

/// The handler that a plugin passes requests on to. The plugin's store calls it and polls the result.
pub trait NextHandler: Send + Sync {
    /// Passes a request on. Dropping the future, or the body of the response, ends the exchange behind it.
    fn pass(self: Arc<Self>, request: Request<WasiBody>) -> Passing;
}

/// The response to a request that was passed on.
pub type Passing = Pin<Box<dyn Future<Output = Result<Response<WasiBody>, BodyError>> + Send>>;
