//! The handle with which changes are asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use host_certs::CertificateStore;
use host_manifest::Stamp;
use host_telemetry::EventLog;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::builder::SiteBuilder;
use super::canary::{CanaryList, CanaryProgress};
use super::change::{PendingChange, QueuedChange};
use super::change_counts::ChangeCounts;
use super::outcome::{ReloadScope, SwapCommand, SwapOutcome, SwapRecord, Trigger};
use super::retired::{GenerationInfo, RetiredGenerations};
use super::slot::Slot;
use crate::component::{Keeper, Rejected, Step};

/// Asks for changes and tells of generations. Cheap to clone; dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Swaps {
    pub(super) queue: mpsc::Sender<QueuedChange>,
    pub(super) context: Arc<SwapContext>,
}

/// What the handles and the task that carries changes out share.
#[derive(Debug)]
pub(super) struct SwapContext {
    pub(super) slot: Arc<Slot>,
    pub(super) retired: RetiredGenerations,
    pub(super) builder: SiteBuilder,
    pub(super) keeper: Keeper,
    pub(super) last: watch::Sender<Option<SwapRecord>>,
    pub(super) canaries: CanaryList,
    pub(super) counts: ChangeCounts,
    /// What became of changes, for whoever looks at the traffic around them.
    pub(super) events: EventLog,
}

impl Swaps {
    /// Asks for a change in the name of an operator and waits for the outcome: as long as the changes
    /// before it and its own steps take. Each step has a deadline. Dropping the future leaves the
    /// change going on.
    pub async fn ask(&self, command: SwapCommand) -> SwapOutcome {
        let (queued, pending) = self.queued(command, Trigger::Operator);
        match self.queue.try_send(queued) {
            Ok(()) => pending.outcome.await.unwrap_or_else(|_| SwapOutcome::process_is_ending()),
            Err(TrySendError::Full(_)) => {
                let why = "too many swaps are waiting already; ask again later";
                SwapOutcome::Rejected(Rejected::for_now(Step::Ask, why))
            }
            Err(TrySendError::Closed(_)) => SwapOutcome::process_is_ending(),
        }
    }

    /// Asks for a reload for a trigger that cannot be told to come again: waits until the queue has a
    /// place for it. Cancel-safe.
    pub(super) async fn reload(&self, scope: ReloadScope, trigger: Trigger) -> PendingChange {
        let (queued, pending) = self.queued(scope.command(), trigger);
        if let Ok(place) = self.queue.reserve().await {
            place.send(queued);
        }
        pending
    }

    /// Whether the queue has no place for another change.
    pub(super) fn queue_is_full(&self) -> bool {
        self.queue.capacity() == 0
    }

    fn queued(&self, command: SwapCommand, trigger: Trigger) -> (QueuedChange, PendingChange) {
        QueuedChange::new(command, trigger, &self.context.keeper)
    }

    /// All generations that there are, newest first.
    #[must_use]
    pub fn generations(&self) -> Vec<GenerationInfo> {
        self.context.retired.infos(&self.context.slot)
    }

    /// The canaries that are under way, and the last ones before them; the latest one last.
    #[must_use]
    pub fn canaries(&self) -> Vec<CanaryProgress> {
        self.context.canaries.all()
    }

    /// The last change, if there was one.
    #[must_use]
    pub fn last(&self) -> Option<SwapRecord> {
        self.context.last.borrow().clone()
    }

    /// How many changes came out in which way: the word for the outcome, with the step that a rejected one came to.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.context.counts.all()
    }

    /// Follows the outcomes of all changes, whatever the trigger.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<SwapRecord>> {
        self.context.last.subscribe()
    }

    /// The certificates of listeners; none if no listener has TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<&Arc<CertificateStore>> {
        self.context.builder.certificates.as_ref()
    }

    /// The files that a reload of this much reads, as [`Self::files`] has them.
    #[must_use]
    pub fn files_of(&self, scope: ReloadScope) -> Vec<(PathBuf, Option<Stamp>)> {
        match scope {
            ReloadScope::All => self.files(),
            ReloadScope::Certificates => {
                let files = self.certificates().map(|store| store.files()).unwrap_or_default();
                files.into_iter().map(|(path, stamp)| (path, Some(stamp))).collect()
            }
        }
    }

    /// The files that a reload reads, each with what it was when it was last read. None there: only
    /// what becomes of it from now on counts. A path may be there more than once.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Option<Stamp>)> {
        let current = self.context.slot.current();
        let manifest = self.context.builder.manifest();
        let manifest = manifest.map(|(path, stamp)| (path.to_owned(), Some(stamp)));
        let sources = current.apps().map(|app| (app.source.path.clone(), app.source.stamp));
        sources.chain(manifest).collect()
    }

    /// Tells all guests that the process drains and cuts at `deadline`.
    pub fn end_all(&self, deadline: Instant) {
        self.context.retired.end_all(&self.context.slot, deadline);
    }

    /// Cuts everything: the process ends.
    pub fn cut_all(&self) {
        self.context.retired.cut_all(&self.context.slot);
    }
}
