//! A file whose code is wanted.

use std::path::PathBuf;
use std::sync::Arc;

use host_telemetry::ComponentUsage;
use tokio_util::sync::CancellationToken;

use super::code::rejected::Rejected;
use super::code::single_flight::Version;

/// A file to compile, and the name of its component, if it has one.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The name.
    pub component: Option<Arc<str>>,
    /// The file.
    pub path: PathBuf,
    /// Where it is counted what its code takes.
    pub(super) usage: Arc<ComponentUsage>,
    /// A snapshot of it is to be taken.
    pub(super) snapshot: bool,
    /// Cancelled when the file is not wanted any more. Its compiler is killed, and the others go on.
    pub given_up: CancellationToken,
}

impl Wanted {
    /// A file, wanted until `given_up` is cancelled. `usage` counts what its code takes.
    #[must_use]
    pub fn new(component: Option<Arc<str>>, path: PathBuf, usage: Arc<ComponentUsage>) -> Self {
        Self { component, path, usage, snapshot: false, given_up: CancellationToken::new() }
    }

    /// The same, for instances that begin where one is behind its `on-start`.
    #[must_use]
    pub fn with_snapshot(self, snapshot: bool) -> Self {
        Self { snapshot, ..self }
    }

    /// Waits until its code is not wanted any more: it was given up, or the file has other content by now.
    /// Cancel-safe.
    pub(super) async fn is_vain(&self, version: &Version) {
        tokio::select! {
            () = self.given_up.cancelled() => {}
            () = version.replaced() => {}
        }
    }

    /// The rejection, with the name of its component.
    pub(super) fn refused(&self, why: Rejected) -> Rejected {
        match &self.component {
            Some(component) => why.for_component(component),
            None => why,
        }
    }
}
