//! A guest's grants beyond the sandbox. `imports/` has what each grant does.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use host_manifest::Stdio;
use http::{Request, Response, Uri};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody};

use super::hops::Hops;
use super::identity::Identity;

/// The grant of one ability, prepared once for all instances of a generation. Dropped with the last
/// generation that has it, which closes its directories, pools and databases.
pub(crate) trait Grant: Any + fmt::Debug + Send + Sync {
    /// Adds the grant to the WASI context of a new instance.
    fn build(&self, _: &mut WasiCtxBuilder) {}

    /// Adds to that context the parts that its builder cannot.
    fn furnish(&self, _: &mut WasiCtx) {}

    /// State of its own in each instance. Dropped with the instance.
    fn instance_state(&self) -> Option<Box<dyn Any + Send>> {
        None
    }

    /// A copy for another blueprint, where blueprints may not share the grant. None if they may.
    fn for_blueprint(&self) -> Option<Arc<dyn Grant>> {
        None
    }

    /// The sender for HTTP requests of an instance, if this grant has one.
    fn http_sender(&self) -> Option<Arc<dyn HttpSender>> {
        None
    }
}

/// Sends HTTP requests of guests, or refuses them.
pub(crate) trait HttpSender: Send + Sync {
    /// Whether some grant admits a request to this URI. What is not admitted, `send` refuses and says so.
    fn admits(&self, uri: &Uri) -> bool;

    /// Sends a request for an exchange of this depth. Dropping the future ends it.
    fn send(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        identity: &Identity,
        hops: Hops,
    ) -> Sending;
}

/// A response that is waited for.
pub(crate) type Sending = Box<dyn Future<Output = Result<Response<WasiBody>, HttpError>> + Send>;

/// All grants of a generation's instances. None by default. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Grants {
    /// The destination of stdout and stderr.
    pub stdio: Stdio,
    granted: Arc<[Arc<dyn Grant>]>,
}

impl Default for Grants {
    fn default() -> Self {
        Self::new(Stdio::default(), Vec::new())
    }
}

impl Grants {
    /// These grants, at most one of each kind.
    #[must_use]
    pub(crate) fn new(stdio: Stdio, granted: Vec<Arc<dyn Grant>>) -> Self {
        Self { stdio, granted: granted.into() }
    }

    /// The grant of this type, if there is one.
    pub(crate) fn get<G: Grant>(&self) -> Option<&G> {
        self.iter().find_map(|grant| {
            let grant: &dyn Any = grant;
            grant.downcast_ref()
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Grant> {
        self.granted.iter().map(|grant| &**grant)
    }

    /// The grants for another blueprint.
    pub(crate) fn for_blueprint(&self) -> Self {
        let own = |grant: &Arc<dyn Grant>| grant.for_blueprint().unwrap_or_else(|| grant.clone());
        Self { stdio: self.stdio, granted: self.granted.iter().map(own).collect() }
    }
}
