//! The canaries that are under way.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::progress::CanaryProgress;
use super::run::{Canary, Decision};

/// The canaries under way, each in a task of its own. Dropping it ends the tasks.
#[derive(Debug)]
pub(in crate::site) struct RunningCanaries {
    tasks: JoinSet<Decision>,
    /// By component: each has one at most.
    running: BTreeMap<Arc<str>, (Arc<Canary>, AbortHandle)>,
    stopping: CancellationToken,
}

impl RunningCanaries {
    /// None yet. They end when `stopping` is cancelled.
    pub(in crate::site) fn new(stopping: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), running: BTreeMap::new(), stopping }
    }

    /// A canary begins, whose candidate is in the site.
    pub(in crate::site) fn start(&mut self, canary: Arc<Canary>) {
        let task = self.tasks.spawn(canary.clone().run(self.stopping.clone()));
        self.running.insert(canary.component(), (canary, task));
    }

    /// Takes that of a component out of its task, to end it.
    pub(in crate::site) fn take(&mut self, component: &str) -> Option<Arc<Canary>> {
        let (canary, task) = self.running.remove(component)?;
        task.abort();
        Some(canary)
    }

    /// Takes those out of which `is_there` says that their candidate is not in the site any more.
    pub(in crate::site) fn take_replaced(
        &mut self,
        is_there: impl Fn(&Canary) -> bool,
    ) -> Vec<Arc<Canary>> {
        let replaced = self.running.iter().filter(|(_, (canary, _))| !is_there(canary));
        let names: Vec<Arc<str>> = replaced.map(|(name, _)| name.clone()).collect();
        names.iter().filter_map(|name| self.take(name)).collect()
    }

    /// Waits for the next one that has decided how it ends; for ever if there is none. Cancel-safe.
    pub(in crate::site) async fn next(&mut self) -> (Arc<Canary>, Decision) {
        loop {
            let Some(joined) = self.tasks.join_next_with_id().await else { return pending().await };
            let (id, decision) = match joined {
                Ok(decided) => decided,
                Err(why) => (why.id(), Decision::Abort(format!("the judge has failed: {why}"))),
            };
            // One that was taken out is not there any more.
            let found = self.running.iter().find(|(_, (_, task))| task.id() == id);
            let name = found.map(|(name, _)| name.clone());
            if let Some((canary, _)) = name.and_then(|name| self.running.remove(&name)) {
                return (canary, decision);
            }
        }
    }
}

/// What operators may look at: the canaries under way, and the last ones before them.
#[derive(Debug, Default)]
pub(in crate::site) struct CanaryList(Mutex<VecDeque<watch::Receiver<CanaryProgress>>>);

/// Enough for a client that follows one and looks several times a second.
const KEPT: usize = 16;

impl CanaryList {
    /// One begins.
    pub(in crate::site) fn add(&self, canary: &Canary) {
        let mut list = self.lock();
        let is_over = |listed: &watch::Receiver<CanaryProgress>| listed.borrow().end.is_some();
        while list.len() >= KEPT
            && let Some(oldest) = list.iter().position(is_over)
        {
            list.remove(oldest);
        }
        list.push_back(canary.watch());
    }

    /// All of them, the latest one last.
    pub(in crate::site) fn all(&self) -> Vec<CanaryProgress> {
        self.lock().iter().map(|listed| listed.borrow().clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<watch::Receiver<CanaryProgress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
