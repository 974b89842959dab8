//! One canary: looks at both generations, sets the share, and decides how it ends.

use std::sync::{Arc, Weak};
use std::time::Duration;

use host_manifest::{CanaryConfig, TrafficShare};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::judge::ComparedTraffic;
use super::progress::{CanaryEnd, CanaryProgress};
use super::ramp::{Look, Move, Ramp, Seen};
use super::split::TrafficSplit;
use crate::site::app::Deployment;
use crate::site::outcome::STOPPING;

/// A canary. It holds neither generation: only exchanges and the site may.
#[derive(Debug)]
pub(in crate::site) struct Canary {
    config: CanaryConfig,
    split: Arc<TrafficSplit>,
    old: Weak<Deployment>,
    new: Weak<Deployment>,
    progress: watch::Sender<CanaryProgress>,
}

/// How a canary is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::site) enum Decision {
    /// The new generation serves.
    Promote(String),
    /// The one before goes on.
    Abort(String),
}

/// Time between two looks. A tenth of a second of a hundredth of the traffic is what a version that fails each request
/// may fail beyond the two that convict it.
const LOOK: Duration = Duration::from_millis(100);

impl Canary {
    /// Of `new` beside `old`. It gets nothing before [`Self::run`].
    pub(in crate::site) fn new(
        old: &Arc<Deployment>,
        new: &Arc<Deployment>,
        config: CanaryConfig,
    ) -> Arc<Self> {
        let split = Arc::new(TrafficSplit::new(config.sticky.clone()));
        let steps = config.steps();
        let progress = CanaryProgress {
            component: new.manifest.name.clone(),
            from: old.generation.number(),
            to: new.generation.number(),
            share: steps.first().copied().unwrap_or(TrafficShare::ALL),
            step: (1, steps.len()),
            left: config.period,
            waits_for: None,
            old: ComparedTraffic::default(),
            new: ComparedTraffic::default(),
            end: None,
        };
        let (progress, _) = watch::channel(progress);
        let (old, new) = (Arc::downgrade(old), Arc::downgrade(new));
        Arc::new(Self { config, split, old, new, progress })
    }

    /// The component.
    pub(in crate::site) fn component(&self) -> Arc<str> {
        self.progress.borrow().component.clone()
    }

    /// Numbers of the generation before and of the new one.
    pub(in crate::site) fn generations(&self) -> (u64, u64) {
        let progress = self.progress.borrow();
        (progress.from, progress.to)
    }

    /// What decides which exchanges the new one gets.
    pub(in crate::site) fn split(&self) -> Arc<TrafficSplit> {
        self.split.clone()
    }

    /// Follows it to its end.
    pub(in crate::site) fn watch(&self) -> watch::Receiver<CanaryProgress> {
        self.progress.subscribe()
    }

    /// Looks and steps until it is decided how it ends. By then the share is none or all already. `stopping` ends it:
    /// what comes while the process drains runs on what has proven itself.
    pub(in crate::site) async fn run(self: Arc<Self>, stopping: CancellationToken) -> Decision {
        let decision = tokio::select! {
            biased;
            () = stopping.cancelled() => Decision::Abort(STOPPING.into()),
            decision = self.decide() => decision,
        };
        self.apply(&decision);
        decision
    }

    async fn decide(&self) -> Decision {
        let gone = || Decision::Abort("one of the two generations is gone".into());
        let Some(first) = self.look() else { return gone() };
        let mut ramp = Ramp::new(self.config.clone(), &first);
        self.split.set(ramp.share());
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let Some(look) = self.look() else { return gone() };
            let next = ramp.look(&look);
            self.show(&ramp, (&first, &look), &next);
            match next {
                Move::Stay(_) => {}
                Move::Step(share) => {
                    self.split.set(share);
                    let (component, (_, generation)) = (&*self.component(), self.generations());
                    info!(component, generation, %share, "canary: next step");
                }
                Move::Promote => return Decision::Promote(ramp.why_promoted()),
                Move::Abort(why) => return Decision::Abort(why),
            }
        }
    }

    /// Takes all exchanges to one side, at once.
    fn apply(&self, decision: &Decision) {
        let share = match decision {
            Decision::Promote(_) => TrafficShare::ALL,
            Decision::Abort(_) => TrafficShare::NONE,
        };
        self.split.set(share);
        self.progress.send_modify(|progress| progress.share = share);
    }

    /// It has ended like this.
    pub(in crate::site) fn end(&self, decision: &Decision) {
        self.apply(decision);
        let (promoted, why) = match decision {
            Decision::Promote(why) => (true, why.clone()),
            Decision::Abort(why) => (false, why.clone()),
        };
        let end = CanaryEnd { promoted, why, at: Instant::now() };
        self.progress.send_modify(|progress| {
            progress.left = Duration::ZERO;
            progress.waits_for = None;
            progress.end = Some(end);
        });
    }

    fn show(&self, ramp: &Ramp, (first, now): (&Look, &Look), next: &Move) {
        let waits_for = if let Move::Stay(why) = next { why.clone() } else { None };
        self.progress.send_modify(|progress| {
            progress.share = ramp.share();
            progress.step = ramp.step();
            progress.left = ramp.left();
            progress.waits_for = waits_for;
            progress.old = now.old.traffic.since(&first.old.traffic);
            progress.new = now.new.traffic.since(&first.new.traffic);
        });
    }

    /// None once one of the two is gone.
    fn look(&self) -> Option<Look> {
        Some(Look { old: seen(&self.old)?, new: seen(&self.new)? })
    }
}

fn seen(deployment: &Weak<Deployment>) -> Option<Seen> {
    let deployment = deployment.upgrade()?;
    Some(Seen {
        traffic: (&deployment.traffic.totals()).into(),
        // One is the site's, one this look's.
        in_flight: Arc::strong_count(&deployment).saturating_sub(2),
        put_aside: deployment.put_aside().is_some(),
    })
}
