//! One component as it is served.

use std::path::PathBuf;
use std::sync::Arc;

use host_manifest::{ComponentConfig, ComponentLimits, Stamp};
use tokio::sync::Semaphore;

use super::breaker::CircuitBreaker;
use super::bulkhead::Bulkhead;
use crate::component::{Generation, Settings, Source};

/// One component as it is served: its current generation, and what bounds it.
#[derive(Clone, Debug)]
pub struct App {
    /// What the manifest says of it.
    pub manifest: Arc<ComponentConfig>,
    /// What its generations are made with.
    pub settings: Arc<Settings>,
    /// The file that a reload reads.
    pub(super) source: WatchedSource,
    /// What exchanges run on.
    pub generation: Arc<Generation>,
    /// How many instances run at once. All generations of the component share it.
    pub bulkhead: Arc<Bulkhead>,
    /// Refuses requests for a while when the component keeps failing. Each generation has its own:
    /// failures of another one, or of work that still ends on that one, do not count against it.
    pub breaker: Option<Arc<CircuitBreaker>>,
}

/// The file that a reload reads for a component, as it was when it was last read for that. It need not
/// be the file that serves: `--watch` does not undo a rollback, or a swap to another file than the
/// manifest's, before this file changes.
#[derive(Clone, Debug)]
pub(super) struct WatchedSource {
    pub(super) path: PathBuf,
    /// None after a rollback: the file is taken as it is by then.
    pub(super) stamp: Option<Stamp>,
    pub(super) digest: Arc<str>,
}

impl WatchedSource {
    /// The file that has just been read.
    pub(super) fn new(source: &Source) -> Self {
        let (path, digest) = (source.path().to_owned(), source.digest().clone());
        Self { path, stamp: Some(source.stamp()), digest }
    }
}

impl App {
    /// A component with its first generation. `total` bounds the instances of all components. If the
    /// manifest gives the component the bounds that it gave `before`, the bulkhead of that goes on.
    pub(super) fn new(
        manifest: Arc<ComponentConfig>,
        settings: Arc<Settings>,
        source: WatchedSource,
        generation: Arc<Generation>,
        total: &Arc<Semaphore>,
        before: Option<&Self>,
    ) -> Self {
        let bounds = |limits: &ComponentLimits| (limits.instances, limits.queue, limits.queue_wait);
        let wanted = bounds(&manifest.limits);
        let bulkhead = match before {
            Some(before) if bounds(before.limits()) == wanted => before.bulkhead.clone(),
            _ => Arc::new(Bulkhead::new(wanted.0, wanted.1, wanted.2, total.clone())),
        };
        let breaker = closed_breaker(&manifest);
        Self { manifest, settings, source, generation, bulkhead, breaker }
    }

    /// The same component on another generation.
    pub(super) fn with_generation(
        &self,
        generation: Arc<Generation>,
        source: WatchedSource,
    ) -> Self {
        let breaker = closed_breaker(&self.manifest);
        Self { source, generation, breaker, ..self.clone() }
    }

    /// What it may use.
    #[must_use]
    pub fn limits(&self) -> &ComponentLimits {
        &self.manifest.limits
    }
}

/// A breaker without failures, if the manifest asks for one.
fn closed_breaker(manifest: &ComponentConfig) -> Option<Arc<CircuitBreaker>> {
    manifest.breaker.map(|rule| Arc::new(CircuitBreaker::new(rule)))
}
