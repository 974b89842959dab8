//! Carries changes out, one after the other. The same code serves every trigger.
//!
//! A change whose code has to be compiled first steps aside for that ([`PendingCompiles`]) and has
//! another attempt after it. Meanwhile others are carried out, and one that was asked for later wins
//! over it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use host_telemetry::EventLog;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::app::WatchedSource;
use super::builder::{KEEPS_CHANGING, MAX_ATTEMPTS, SiteBuilder};
use super::canary::{CanaryList, RunningCanaries};
use super::change::{Change, ChangeId, QueuedChange};
use super::change_counts::ChangeCounts;
use super::marks;
use super::outcome::{
    CanaryChoice, Reloaded, STOPPING, SwapCommand, SwapOutcome, SwapRecord, Trigger,
};
use super::pending_compiles::{ChangeScope, CompiledChange, OVERTAKEN, PendingCompiles};
use super::reload::{Rebuilt, ReloadRules};
use super::retired::{RetiredGenerations, RetirementPolicy};
use super::slot::{Site, Slot};
use super::swap_target::SwapTarget;
use super::swaps::{SwapContext, Swaps};
use crate::component::{
    Generation, Keeper, LoadProgress, Loader, Rejected, Step, Unmade, Urgency, Wanted,
};

/// Changes that may wait for the one under way; the next one is told to come again.
const MAX_WAITING: usize = 16;

/// Carries changes out. Owned by one task.
#[derive(Debug)]
pub struct Swapper {
    queue: mpsc::Receiver<QueuedChange>,
    pub(super) context: Arc<SwapContext>,
    loader: Arc<Loader>,
    pub(super) compiles: PendingCompiles,
    pub(super) canaries: RunningCanaries,
    /// A stop has been asked for.
    stopping: CancellationToken,
    /// Tasks that see retired generations off.
    retiring: TaskTracker,
}

/// What an attempt has come to, short of a rejection.
enum Attempt {
    Done(SwapOutcome),
    /// These are to be compiled first.
    Uncompiled(ChangeScope, Vec<Wanted>),
}

impl Swapper {
    /// What changes the site in `slot`, and the handle to ask it. `stopping` is cancelled when a stop
    /// is asked for: that wins over a change, and none begins after it. `keeper` makes a stop wait
    /// until the outcome of each change has been told. `events` is told of it too.
    #[must_use]
    pub fn new(
        slot: Arc<Slot>,
        loader: Arc<Loader>,
        builder: SiteBuilder,
        policy: RetirementPolicy,
        stopping: CancellationToken,
        (keeper, events): (Keeper, EventLog),
    ) -> (Self, Swaps) {
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        let (last, _) = watch::channel(None);
        let retired = RetiredGenerations::new(policy);
        let canaries = CanaryList::default();
        let counts = ChangeCounts::default();
        let context =
            SwapContext { slot, retired, builder, keeper, last, canaries, counts, events };
        let context = Arc::new(context);
        let canaries = RunningCanaries::new(stopping.clone());
        let retiring = TaskTracker::new();
        let compiles = PendingCompiles::new(loader.clone(), stopping.clone());
        let swaps = Swaps { queue: sender, context: context.clone() };
        (Self { queue, context, loader, compiles, canaries, stopping, retiring }, swaps)
    }

    /// Carries out one change after the other, until the last handle to ask for one is gone.
    pub async fn run(mut self) {
        let mut number = 0;
        loop {
            tokio::select! {
                biased;
                (canary, decision) = self.canaries.next() => self.end_canary(&canary, &decision),
                Some(compiled) = self.compiles.next() => Box::pin(self.resume(compiled)).await,
                queued = self.queue.recv() => {
                    let Some(queued) = queued else { return };
                    number += 1;
                    info!(asked = queued.trigger.name(), "swap: begins: {}", queued.command);
                    Box::pin(self.attempt(Change::new(queued, number))).await;
                }
            }
        }
    }

    /// The code that a change wanted has been compiled, or cannot be.
    async fn resume(&mut self, CompiledChange { mut change, code }: CompiledChange) {
        match code {
            Ok(code) => {
                change.hold(code);
                Box::pin(self.attempt(change)).await;
            }
            Err(why) => self.finish(change, SwapOutcome::Rejected(why)),
        }
    }

    async fn attempt(&mut self, mut change: Change) {
        change.attempts += 1;
        let stopping = self.stopping.clone();
        let attempt = if stopping.is_cancelled() {
            Err(Rejected::at(Step::Ask, STOPPING))
        } else {
            let progress = LoadProgress::default();
            let attempt = self.carry_out(change.command(), change.id(), change.settled());
            tokio::select! {
                biased;
                () = stopping.cancelled() => Err(Rejected::at(progress.step(), STOPPING)),
                attempt = progress.track(attempt) => attempt,
            }
        };
        match attempt {
            Ok(Attempt::Done(outcome)) => self.finish(change, outcome),
            Err(why) => self.finish(change, SwapOutcome::Rejected(why)),
            Ok(Attempt::Uncompiled(..)) if change.attempts >= MAX_ATTEMPTS => {
                let why = Rejected::for_now(Step::Compile, KEEPS_CHANGING);
                self.finish(change, SwapOutcome::Rejected(why));
            }
            Ok(Attempt::Uncompiled(..)) if self.compiles.len() >= MAX_WAITING => {
                let why = Rejected::for_now(Step::Compile, "too many others are being compiled");
                self.finish(change, SwapOutcome::Rejected(why));
            }
            Ok(Attempt::Uncompiled(scope, wanted)) => self.compiles.start(change, scope, wanted),
        }
    }

    /// Says what a change has come to.
    fn finish(&self, change: Change, outcome: SwapOutcome) {
        let trigger = change.id().trigger;
        let asked = trigger.name();
        if matches!(outcome, SwapOutcome::Rejected(_)) {
            warn!(asked, "swap: {outcome}");
        } else {
            info!(asked, "swap: {outcome}");
        }
        self.record(trigger, Some(change.command()), outcome.clone());
        change.finish(outcome);
    }

    /// Keeps an outcome for a look at it later.
    pub(super) fn record(
        &self,
        trigger: Trigger,
        command: Option<&SwapCommand>,
        outcome: SwapOutcome,
    ) {
        let SwapContext { slot, counts, events, .. } = &*self.context;
        counts.count(&outcome);
        marks::mark(events, slot, (trigger, command), &outcome);
        let at = tokio::time::Instant::now();
        self.context.last.send_replace(Some(SwapRecord { at, trigger, outcome }));
    }

    async fn carry_out(
        &mut self,
        command: &SwapCommand,
        id: ChangeId,
        settled: &BTreeSet<Arc<str>>,
    ) -> Result<Attempt, Rejected> {
        let rules = ReloadRules { only_changed: id.trigger == Trigger::Watch, settled };
        let slot = &self.context.slot;
        match command {
            SwapCommand::Reload if self.context.builder.manifest().is_some() => {
                self.reload_manifest(id, &rules).await
            }
            SwapCommand::Reload => {
                let target = SwapTarget::find(slot, None)?;
                self.reload_component(id, &target, &rules).await
            }
            SwapCommand::ReloadTls => self.reload_certificates(id).await,
            SwapCommand::Swap(name, path, canary) => {
                let target = SwapTarget::find(slot, name.as_deref())?;
                let rules = ReloadRules { only_changed: false, ..rules };
                self.swap_to(id, path, (&target, canary), &rules).await
            }
            SwapCommand::Rollback(name) => {
                let target = SwapTarget::find(slot, name.as_deref())?;
                match target.candidate {
                    Some(_) => self.abort_by_hand(&target).map(Attempt::Done),
                    None => self.roll_back(id, &target).await,
                }
            }
            SwapCommand::Promote(name) => {
                let target = SwapTarget::find(slot, name.as_deref())?;
                self.promote_by_hand(&target).map(Attempt::Done)
            }
            SwapCommand::Abort(name) => {
                let target = SwapTarget::find(slot, name.as_deref())?;
                self.abort_by_hand(&target).map(Attempt::Done)
            }
        }
    }

    /// Serves `target` from the file at `path`, unless `rules` say that it stays as it is. The file may
    /// hold what serves already.
    async fn swap_to(
        &mut self,
        id: ChangeId,
        path: &Path,
        (target, canary): (&SwapTarget, &CanaryChoice),
        rules: &ReloadRules<'_>,
    ) -> Result<Attempt, Rejected> {
        let source = self.loader.read(path).await?;
        let watched = target.source_after_swap(self.has_manifest(), &source);
        let serves = *source.digest() == target.digest;
        let says_nothing = rules.only_changed && *source.digest() == target.source.digest;
        if serves || says_nothing {
            target.note_source(&self.context.slot, watched);
            if !says_nothing {
                self.compiles.give_up_before(id.number, [&target.manifest.name]);
                self.take_back(&target.manifest.name, "the version before was asked for again");
            }
            return Ok(Attempt::Done(SwapOutcome::Unchanged { generation: target.number }));
        }
        let config = target.canary(canary);
        // Asked for with other words, it begins anew.
        if let Some((digest, number)) = &target.candidate
            && digest == source.digest()
            && !matches!(canary, CanaryChoice::Asked(_))
        {
            return match config {
                Some(_) => Ok(Attempt::Done(SwapOutcome::Unchanged { generation: *number })),
                None => self.promote_by_hand(target).map(Attempt::Done),
            };
        }
        if rules.settled.contains(&target.manifest.name) {
            return Err(Rejected::at(Step::Compile, OVERTAKEN));
        }
        let made = self.loader.make(source, &target.settings, Urgency::BesideTraffic).await;
        let blueprint = match made {
            Ok(blueprint) => blueprint,
            Err(Unmade::Rejected(why)) => return Err(why),
            Err(Unmade::Uncompiled) => {
                let wanted = Wanted::new(None, path.to_owned(), target.settings.usage.clone())
                    .with_snapshot(target.settings.snapshot);
                let scope = ChangeScope::Component(target.manifest.name.clone());
                return Ok(Attempt::Uncompiled(scope, vec![wanted]));
            }
        };
        let next = self.loader.prove(blueprint).await?;
        Ok(Attempt::Done(match config {
            Some(config) => self.begin_canary(id, target, (next, watched), config),
            None => self.store(id, target, next, watched),
        }))
    }

    async fn roll_back(&mut self, id: ChangeId, target: &SwapTarget) -> Result<Attempt, Rejected> {
        let kept = self.context.retired.previous(&target.manifest.name).ok_or_else(|| {
            Rejected::at(Step::Ask, "there is no previous generation to go back to")
        })?;
        let blueprint = self.loader.remake(&kept, &target.settings);
        let next = self.loader.prove(blueprint).await?;
        let watched = target.source_after_rollback(self.has_manifest(), &next);
        Ok(Attempt::Done(self.store(id, target, next, watched)))
    }

    /// Puts a proven generation in the place of the target's.
    fn store(
        &mut self,
        id: ChangeId,
        target: &SwapTarget,
        next: Generation,
        source: WatchedSource,
    ) -> SwapOutcome {
        let to = next.number();
        let current = self.context.slot.current();
        // Changes are serial, and this is the one: what was there a moment ago is there still.
        let site = match current.app(&target.manifest.name) {
            Some(app) => current.with_app(app.with_generation(next, source)),
            None => return SwapOutcome::Unchanged { generation: target.number },
        };
        drop(current);
        self.commit(site);
        self.compiles.give_up_before(id.number, [&target.manifest.name]);
        SwapOutcome::Swapped { from: target.number, to, took: id.began.elapsed() }
    }

    /// Reads again what is served where there is no manifest: the file of the component, and certificates.
    async fn reload_component(
        &mut self,
        id: ChangeId,
        target: &SwapTarget,
        rules: &ReloadRules<'_>,
    ) -> Result<Attempt, Rejected> {
        let certificates = self.context.builder.prove_certificates(None).await?;
        let path = target.source.path.clone();
        let attempt = self.swap_to(id, &path, (target, &CanaryChoice::Manifest), rules).await?;
        let Attempt::Done(outcome) = attempt else { return Ok(attempt) };
        let certificates = self.context.builder.publish_certificates(certificates).changed;
        let unchanged = matches!(outcome, SwapOutcome::Unchanged { .. });
        Ok(Attempt::Done(match certificates.is_empty() {
            false if unchanged => certificates_reloaded(id, certificates),
            false => {
                info!("swap: certificates: {}", certificates.join(", "));
                outcome
            }
            true => outcome,
        }))
    }

    /// Reads the certificates of listeners again. One that cannot be used holds up no other.
    async fn reload_certificates(&self, id: ChangeId) -> Result<Attempt, Rejected> {
        let builder = &self.context.builder;
        let Some(prepared) = builder.prepare_certificates(None).await? else {
            return Err(Rejected::at(Step::Ask, "no listener has TLS: there are no certificates"));
        };
        let reload = builder.publish_certificates(Some(prepared));
        let Some(why) = builder.certificate_refusal(&reload.errors) else {
            return Ok(Attempt::Done(certificates_reloaded(id, reload.changed)));
        };
        let others = match reload.changed.is_empty() {
            true => String::new(),
            false => format!("; new all the same: {}", reload.changed.join(", ")),
        };
        Err(Rejected::at(Step::Certificates, why + &others))
    }

    async fn reload_manifest(
        &mut self,
        id: ChangeId,
        rules: &ReloadRules<'_>,
    ) -> Result<Attempt, Rejected> {
        let SwapContext { slot, builder, .. } = &*self.context;
        let Rebuilt { site, mut reloaded, decided, canaries, certificates } =
            match builder.rebuild(slot, &self.loader, rules).await {
                Ok(rebuilt) => rebuilt,
                Err(Unmade::Rejected(why)) => return Err(why),
                Err(Unmade::Uncompiled) => {
                    let wanted = builder.wanted_now(rules).await?;
                    return Ok(Attempt::Uncompiled(ChangeScope::Manifest, wanted));
                }
            };
        reloaded.took = id.began.elapsed();
        reloaded.certificates = builder.publish_certificates(certificates).changed;
        if let Some(site) = site {
            self.commit(site);
        }
        canaries.into_iter().for_each(|canary| self.start_canary(canary));
        self.compiles.give_up_before(id.number, &decided);
        Ok(Attempt::Done(SwapOutcome::Reloaded(reloaded)))
    }

    /// Puts another site into the slot. A canary whose candidate is not in it is over.
    pub(super) fn commit(&mut self, site: Site) {
        for leaves in self.context.retired.replace(&self.context.slot, site) {
            self.retiring.spawn(leaves);
        }
        self.end_replaced_canaries();
    }

    fn has_manifest(&self) -> bool {
        self.context.builder.manifest().is_some()
    }
}

fn certificates_reloaded(id: ChangeId, certificates: Vec<String>) -> SwapOutcome {
    SwapOutcome::Reloaded(Reloaded {
        certificates,
        took: id.began.elapsed(),
        ..Reloaded::default()
    })
}
