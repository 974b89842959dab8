//! One component as it is served.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use host_manifest::{ComponentConfig, ComponentLimits, Stamp};
use host_telemetry::GenerationTraffic;

use super::backlog::Backlog;
use super::breaker::{BreakerState, CircuitBreaker};
use super::bulkhead::Bulkhead;
use super::canary::{Draw, TrafficSplit, Visitor};
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
    /// What some of them run on, while a canary is under way.
    pub(super) candidate: Option<Candidate>,
    /// What a reload has read of it in the manifest last. It need not be what serves: `--watch` does not begin a canary
    /// that was taken back a second time before this changes.
    pub(super) entry: Arc<ComponentConfig>,
    /// How many instances run at once. All generations of the component share it.
    pub bulkhead: Arc<Bulkhead>,
}

/// A new version that takes over step by step.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// The component as it is once the new version serves.
    pub(super) app: Arc<App>,
    /// What it gets of the exchanges.
    split: Arc<TrafficSplit>,
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
    /// A component with its first generation. `total` bounds the instances of all components, on `workers` so many, with
    /// a backlog at times. If the
    /// manifest gives the component the bounds that it gave `before`, the bulkhead of that goes on.
    pub(super) fn new(
        settings: Arc<Settings>,
        source: WatchedSource,
        deployment: Arc<Deployment>,
        total: &Arc<Permits>,
        workers: &(usize, Backlog),
        before: Option<&Self>,
    ) -> Self {
        let bounds = |limits: &ComponentLimits| (limits.instances, limits.queue, limits.queue_wait);
        let manifest = deployment.manifest.clone();
        let wanted = bounds(&manifest.limits);
        let bulkhead = match before {
            Some(before) if bounds(before.limits()) == wanted => before.bulkhead.clone(),
            _ => Arc::new(Bulkhead::new(wanted, total.clone(), workers.clone())),
        };
        let (candidate, entry) = (None, manifest.clone());
        Self { manifest, settings, source, deployment, candidate, entry, bulkhead }
    }

    /// The same component on another generation.
    pub(super) fn with_generation(&self, generation: Generation, source: WatchedSource) -> Self {
        let traffic = self.deployment.traffic.of_another();
        let deployment = Deployment::new(self.manifest.clone(), generation, traffic);
        Self { source, deployment, candidate: None, ..self.clone() }
    }

    /// The same component with `next` as its candidate, whose file and entry are those that were read last. `split` says
    /// which exchanges that gets.
    pub(super) fn with_candidate(&self, next: Arc<Self>, split: Arc<TrafficSplit>) -> Self {
        let (source, entry) = (next.source.clone(), next.entry.clone());
        let candidate = Some(Candidate { app: next, split });
        Self { source, entry, candidate, ..self.clone() }
    }

    /// The same component without its candidate.
    pub(super) fn without_candidate(&self) -> Self {
        Self { candidate: None, ..self.clone() }
    }

    /// Its candidate, to be what serves.
    pub(super) fn promoted(&self) -> Option<Self> {
        let (source, entry) = (self.source.clone(), self.entry.clone());
        Some(Self { source, entry, ..(**self.candidate()?).clone() })
    }

    /// Draws for an exchange, which then may wait.
    #[must_use]
    pub fn draw(&self, visitor: &Visitor<'_>) -> Draw {
        self.candidate.as_ref().map_or(Draw::NONE, |candidate| candidate.split.draw(visitor))
    }

    /// What an exchange with this draw runs on. A candidate that is put aside gets none: what its breaker would refuse,
    /// the current one serves. Nor does one that has half of the instances: if it hangs, the current one has the rest.
    #[must_use]
    pub fn deployment_for(&self, draw: Draw) -> &Arc<Deployment> {
        match &self.candidate {
            Some(candidate) if candidate.takes(draw, self.limits().instances) => {
                &candidate.app.deployment
            }
            _ => &self.deployment,
        }
    }

    /// All that exchanges may begin on: the current one, then the candidate.
    pub(super) fn deployments(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        [&self.deployment]
            .into_iter()
            .chain(self.candidate().map(|candidate| &candidate.deployment))
    }

    /// Whether exchanges may begin on it.
    pub(super) fn runs(&self, deployment: &Arc<Deployment>) -> bool {
        self.deployments().any(|mine| Arc::ptr_eq(mine, deployment))
    }

    /// The component as it is once its candidate serves, if it has one.
    pub(super) fn candidate(&self) -> Option<&Arc<Self>> {
        self.candidate.as_ref().map(|candidate| &candidate.app)
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

impl Candidate {
    fn takes(&self, draw: Draw, instances: usize) -> bool {
        let deployment = &self.app.deployment;
        // One handle is the site's, the others are those of exchanges.
        let in_flight = || Arc::strong_count(deployment).saturating_sub(1);
        self.split.is_candidates(draw)
            && deployment.put_aside().is_none()
            && in_flight() < (instances / 2).max(1)
    }
}

impl Deployment {
    /// How long its breaker refuses requests yet, if it does.
    #[must_use]
    pub fn put_aside(&self) -> Option<Duration> {
        match self.breaker.as_ref()?.state() {
            BreakerState::Open(left) => Some(left),
            BreakerState::Closed => None,
        }
    }

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
