//! What changes what is served: the task that carries changes out, and those that ask for them.

use std::sync::Arc;
use std::time::Duration;

use host_lifecycle::{Phase, PhaseWatch, SignalWatch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::expiry;
use super::loading::keeper;
use super::process::Process;
use crate::component::Loader;
use crate::config::ServeConfig;
use crate::lint;
use crate::site::{
    ReloadScope, Reloads, RetirementPolicy, SiteBuilder, Slot, SwapOutcome, Swapper, Swaps, Trigger,
};
use crate::supply::Supply;
use crate::watch::Watch;

/// Everything that it takes to change what is served. Nothing of it runs before [`Self::spawn`];
/// what is asked for before waits.
pub(super) struct Swapping {
    swapper: Swapper,
    swaps: Swaps,
    stopping: CancellationToken,
    watches: Vec<Watch>,
    /// Whose tags are looked at, and how often.
    polled: Option<(Arc<Supply>, Duration)>,
    /// What is served, to be looked through for what is served in vain; none without a manifest.
    linted: Option<Arc<Slot>>,
}

impl Swapping {
    pub(super) fn new(
        slot: Arc<Slot>,
        (loader, builder): (Arc<Loader>, SiteBuilder),
        (watches, supply): (Vec<Watch>, Arc<Supply>),
        config: &ServeConfig,
        process: &Process,
    ) -> Self {
        let swap = &config.manifest.swap;
        let policy = RetirementPolicy { timeout: swap.retire, at_most: swap.retired };
        let stopping = CancellationToken::new();
        let keeper = process.manager.keeper(keeper(process.trackers.swaps.clone()));
        let linted = config.file.as_ref().map(|_| slot.clone());
        let events = process.events.clone();
        let (swapper, swaps) =
            Swapper::new(slot, loader, builder, policy, stopping.clone(), (keeper, events));
        let polled = config.manifest.registry.poll.map(|every| (supply, every));
        Self { swapper, swaps, stopping, watches, polled, linted }
    }

    /// A handle to ask for changes.
    pub(super) fn swaps(&self) -> Swaps {
        self.swaps.clone()
    }

    /// Spawns its tasks among those that are watched over.
    pub(super) fn spawn(self, process: Process, tasks: &mut JoinSet<()>) {
        let Self { swapper, swaps, stopping, watches, polled, linted } = self;
        tasks.spawn(swapper.run());
        tasks.spawn(tell_guests_of_the_stop(swaps.clone(), process.phase, stopping));
        tasks.spawn(reload_on_hangup(swaps.clone(), process.hangups));
        if let Some(slot) = linted {
            tasks.spawn(lint_what_serves(swaps.clone(), slot));
        }
        if let Some(store) = swaps.certificates() {
            tasks.spawn(expiry::warn(store.clone(), swaps.watch()));
        }
        if let Some((supply, every)) = polled {
            tasks.spawn(reload_on_moved_tags(swaps.clone(), supply, every));
        }
        for watch in watches {
            tasks.spawn(watch.run(swaps.clone()));
        }
    }
}

async fn tell_guests_of_the_stop(swaps: Swaps, phase: PhaseWatch, stopping: CancellationToken) {
    let stop = phase.stop_asked().await;
    stopping.cancel();
    phase.reached(Phase::Draining).await;
    swaps.end_all(stop.deadline);
    phase.reached(Phase::Cut).await;
    swaps.cut_all();
}

async fn reload_on_hangup(swaps: Swaps, hangups: SignalWatch) {
    let mut reloads = Reloads::new(swaps, ReloadScope::All, Trigger::Hangup);
    loop {
        tokio::select! {
            () = hangups.next() => reloads.ask(),
            // It is in the log.
            outcome = reloads.next() => drop(outcome),
        }
    }
}

/// Asks for a reload when a tag leads to something else than when it was read last.
async fn reload_on_moved_tags(swaps: Swaps, supply: Arc<Supply>, every: Duration) {
    let mut reloads = Reloads::new(swaps, ReloadScope::All, Trigger::Registry);
    loop {
        tokio::time::sleep(every).await;
        if supply.has_moved().await {
            reloads.ask();
            // It is in the log. One that was refused is tried again the next time.
            drop(reloads.next().await);
        }
    }
}

/// Warns of what is served in vain: at the start, and after each change.
async fn lint_what_serves(swaps: Swaps, slot: Arc<Slot>) {
    let mut outcomes = swaps.watch();
    loop {
        for warning in lint::warnings_of_site(&slot.current()) {
            warn!("{warning}");
        }
        loop {
            if outcomes.changed().await.is_err() {
                return;
            }
            let last = outcomes.borrow_and_update();
            if last.as_ref().is_some_and(|last| !matches!(last.outcome, SwapOutcome::Rejected(_))) {
                break;
            }
        }
    }
}
