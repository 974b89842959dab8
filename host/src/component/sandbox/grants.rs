//! What a guest is given beyond the sandbox. What each grant does is with its imports, in `imports/`.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use host_manifest::Stdio;
use http::{Request, Response};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody};

use super::hops::Hops;
use super::identity::Identity;

/// What is granted of one ability, made ready once for all instances of a generation. Dropped with the last
/// generation that has it: directories, pools and databases close then.
pub(crate) trait Grant: Any + fmt::Debug + Send + Sync {
    /// Puts it into the WASI context that is being made for a new instance.
    fn build(&self, _: &mut WasiCtxBuilder) {}

    /// Puts into that context what its builder has no words for.
    fn furnish(&self, _: &mut WasiCtx) {}

    /// State that each instance has of its own. Dropped with the instance.
    fn instance_state(&self) -> Option<Box<dyn Any + Send>> {
        None
    }

    /// The same for another generation, where generations may not share it.
    fn for_generation(&self) -> Option<Arc<dyn Grant>> {
        None
    }

    /// What sends the HTTP requests of an instance.
    fn http_sender(&self) -> Option<Arc<dyn HttpSender>> {
        None
    }
}

/// Sends HTTP requests of guests, or refuses to.
pub(crate) trait HttpSender: Send + Sync {
    /// Sends one for an exchange as deep as this. Dropping the future ends it.
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

/// All that the instances of a generation are granted. Nothing by default. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Grants {
    /// Where stdout and stderr go.
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

    /// The one of this kind, if it is granted.
    pub(crate) fn get<G: Grant>(&self) -> Option<&G> {
        self.iter().find_map(|grant| {
            let grant: &dyn Any = grant;
            grant.downcast_ref()
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Grant> {
        self.granted.iter().map(|grant| &**grant)
    }

    /// The same for another generation.
    pub(crate) fn for_generation(&self) -> Self {
        let own = |grant: &Arc<dyn Grant>| grant.for_generation().unwrap_or_else(|| grant.clone());
        Self { stdio: self.stdio, granted: self.granted.iter().map(own).collect() }
    }
}
