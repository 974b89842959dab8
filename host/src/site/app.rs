//! One component as it is served.

use std::path::PathBuf;
use std::sync::Arc;

use host_manifest::{ComponentConfig, ComponentLimits, Stamp};
use host_telemetry::GenerationTraffic;

use super::breaker::CircuitBreaker;
use super::bulkhead::Bulkhead;
use super::permits::Permits;
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
    pub deployment: Arc<Deployment>,
    /// How many instances run at once. All generations of the component share it.
    pub bulkhead: Arc<Bulkhead>,
}

/// What an exchange runs on: a generation with what belongs to it. Each exchange holds it by one handle, and
/// so does the site: it is gone with the last of them, and the handles tell how many are on it.
#[derive(Debug)]
pub struct Deployment {
    /// What the manifest says of the component.
    pub manifest: Arc<ComponentConfig>,
    /// The code, with its limits and grants.
    pub generation: Generation,
    /// Refuses requests for a while when the component keeps failing. Each generation has its own:
    /// failures of another one, or of work that still ends on that one, do not count against it.
    pub breaker: Option<CircuitBreaker>,
    /// Counts the stages that ran on it.
    pub traffic: GenerationTraffic,
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
        settings: Arc<Settings>,
        source: WatchedSource,
        deployment: Arc<Deployment>,
        total: &Arc<Permits>,
        before: Option<&Self>,
    ) -> Self {
        let bounds = |limits: &ComponentLimits| (limits.instances, limits.queue, limits.queue_wait);
        let manifest = deployment.manifest.clone();
        let wanted = bounds(&manifest.limits);
        let bulkhead = match before {
            Some(before) if bounds(before.limits()) == wanted => before.bulkhead.clone(),
            _ => Arc::new(Bulkhead::new(wanted.0, wanted.1, wanted.2, total.clone())),
        };
        Self { manifest, settings, source, deployment, bulkhead }
    }

    /// The same component on another generation.
    pub(super) fn with_generation(&self, generation: Generation, source: WatchedSource) -> Self {
        let traffic = self.deployment.traffic.of_another();
        let deployment = Deployment::new(self.manifest.clone(), generation, traffic);
        Self { source, deployment, ..self.clone() }
    }

    /// Its current generation.
    #[must_use]
    pub fn generation(&self) -> &Generation {
        &self.deployment.generation
    }

    /// What it may use.
    #[must_use]
    pub fn limits(&self) -> &ComponentLimits {
        &self.manifest.limits
    }
}

impl Deployment {
    /// Of a generation that has not failed yet: its breaker, if the manifest asks for one, is closed. What runs on
    /// it is counted in `traffic`.
    pub(super) fn new(
        manifest: Arc<ComponentConfig>,
        generation: Generation,
        traffic: GenerationTraffic,
    ) -> Arc<Self> {
        let breaker = manifest.breaker.map(CircuitBreaker::new);
        Arc::new(Self { manifest, generation, breaker, traffic })
    }

    /// Counts a failure of the component, if it has a breaker. True if that puts it aside.
    pub fn count_failure(&self) -> bool {
        self.breaker.as_ref().is_some_and(CircuitBreaker::count_failure)
    }
}
