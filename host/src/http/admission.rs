//! The right to an instance: what a request waits for before a component serves it.

use std::sync::Arc;
use std::time::Duration;

use host_clock::MinRate;
use host_manifest::ComponentConfig;
use host_net::Scarcity;
use host_telemetry::GenerationTraffic;
use tokio::time::Instant;
use tracing::warn;

use super::blame::ExchangeError;
use super::failure::Failure;
use super::pipeline::Pipeline;
use crate::component::Generation;
use crate::site::{Bulkhead, Deployment, Full, GuestStart, InstancePermit, Slot, Visitor};

/// A slow peer that is cut because requests wait has gone after this.
const CUT_WITHIN: Duration = Duration::from_secs(1);

/// Admits requests to instances of what the slot has.
#[derive(Debug)]
pub(super) struct Admission {
    site: Arc<Slot>,
    /// Told of each request that waits.
    scarcity: Arc<Scarcity>,
    min_rate: Option<MinRate>,
}

/// The right to an instance of a component, and what that was at the moment. Dropping it lets the next
/// one in.
pub(super) struct Admitted {
    permit: InstancePermit,
    deployment: Arc<Deployment>,
    queue: Duration,
}

impl Admission {
    pub(super) fn new(site: Arc<Slot>, scarcity: Arc<Scarcity>, min_rate: Option<MinRate>) -> Self {
        Self { site, scarcity, min_rate }
    }

    /// Where the current site is.
    pub(super) fn site(&self) -> &Slot {
        &self.site
    }

    /// The same, to be kept.
    pub(super) fn site_handle(&self) -> Arc<Slot> {
        self.site.clone()
    }

    /// What is told that requests wait.
    pub(super) fn scarcity(&self) -> &Arc<Scarcity> {
        &self.scarcity
    }

    /// Waits for the right to an instance of the first component of `pipeline`, for a request of `visitor`.
    /// `is_passed_on` by a plugin, a request takes what its exchange holds already. Bounded by the queue's wait;
    /// cancel-safe.
    ///
    /// # Errors
    /// When there is no such component, it is put aside, has no instance in time, or the stop cuts.
    pub(super) async fn admit(
        &self,
        pipeline: &Pipeline,
        visitor: Visitor<'_>,
        is_passed_on: bool,
    ) -> Result<Admitted, ExchangeError> {
        let (was, draw) = {
            let site = self.site.current();
            let app = pipeline.latest(&site).ok_or(ExchangeError::Refused(Failure::NoRoute))?;
            let draw = app.draw(&visitor);
            let deployment = app.deployment_for(draw);
            if let Some(left) = deployment.put_aside() {
                return Err(ExchangeError::Refused(Failure::put_aside(left)));
            }
            // Most requests go through one component, and find an instance.
            if pipeline.permits().is_none()
                && let Some(permit) = app.bulkhead.try_acquire(None, 1)
            {
                let deployment = deployment.clone();
                return Ok(Admitted { permit, deployment, queue: Duration::ZERO });
            }
            (app.clone(), draw)
        };
        let asked = Instant::now();
        let permit = tokio::select! {
            biased;
            permit = self.permit(&was.bulkhead, pipeline, is_passed_on) => {
                permit.map_err(|Full(limit)| ExchangeError::AtLimit(limit))?
            }
            why = self.site.cut() => return Err(ExchangeError::Cut(why)),
        };
        // Now that it begins: what waited does not run on code that was replaced since.
        let site = self.site.current();
        let app = pipeline.latest(&site).unwrap_or(&was);
        let deployment = app.deployment_for(draw).clone();
        Ok(Admitted { permit, deployment, queue: asked.elapsed() })
    }

    /// Waits for the permit that `bulkhead` gives to a request.
    async fn permit(
        &self,
        bulkhead: &Bulkhead,
        pipeline: &Pipeline,
        is_passed_on: bool,
    ) -> Result<InstancePermit, Full> {
        if is_passed_on {
            return bulkhead.acquire_in_chain(pipeline.permits()).await;
        }
        let more = self.scarcity.is_held_up().then_some(self.min_rate).flatten();
        let more = more.map_or(Duration::ZERO, |rate| rate.grace + CUT_WITHIN);
        let permit = bulkhead.acquire(pipeline.permits(), pipeline.length(), more);
        self.scarcity.wait_for(permit).await
    }
}

impl Admitted {
    /// The generation that serves.
    pub(super) fn generation(&self) -> &Generation {
        &self.deployment.generation
    }

    /// What the manifest says of it.
    pub(super) fn config(&self) -> &ComponentConfig {
        &self.deployment.manifest
    }

    /// Where the stages that run on it are counted.
    pub(super) fn traffic(&self) -> &GenerationTraffic {
        &self.deployment.traffic
    }

    /// What is to be kept while the guest computes for the first time.
    pub(super) fn take_start(&mut self) -> Option<GuestStart> {
        self.permit.take_start()
    }

    /// How long it waited for an instance.
    pub(super) fn queue(&self) -> Duration {
        self.queue
    }

    /// Counts a failure of the component, if it has a breaker.
    pub(super) fn count_failure(&self) {
        if self.deployment.count_failure() {
            warn!(component = &*self.config().name, "component keeps failing and is put aside");
        }
    }
}
