//! Generations that no longer take new exchanges, and the one that may come back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::fate::Fate;
use super::generation::Blueprint;
use super::survey::Kind;
use super::{Generation, Slot};

/// How long generations may linger that have been replaced.
#[derive(Clone, Copy, Debug)]
pub struct Retirement {
    /// From the swap to the cut of what still runs on the old one.
    pub timeout: Duration,
    /// Replaced generations at once; beyond that the oldest is cut.
    pub at_most: usize,
}

/// Where a generation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Takes new exchanges.
    Current,
    /// Takes none, but a rollback would bring its code back.
    Previous,
    /// Takes none, and goes with its last exchange.
    Retired,
}

/// One generation, as an operator sees it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its number.
    pub number: u64,
    /// The component's name.
    pub component: String,
    /// The file that it was read from.
    pub path: String,
    /// SHA-256 of that file, in hex.
    pub digest: String,
    /// The interface that requests go through.
    pub kind: Kind,
    /// Where it stands.
    pub standing: Standing,
    /// Exchanges on it, and instances at work after their answer.
    pub in_flight: usize,
    /// When it was made.
    pub since: Instant,
    /// When what still runs on it is cut.
    pub deadline: Option<Instant>,
}

/// What an exchange and the slot hold is the generation itself, so that it is gone with the last of
/// them. The shelf only knows of it.
#[derive(Debug)]
pub(super) struct Shelf {
    retirement: Retirement,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    previous: Option<Previous>,
    retired: VecDeque<Retired>,
    /// The process drains, and cuts then.
    ending: Option<Instant>,
    /// The process cuts.
    cut: bool,
}

/// What a rollback needs, and what the list shows of it when nothing runs on it any more.
#[derive(Debug)]
struct Previous {
    blueprint: Arc<Blueprint>,
    listed: Listed,
}

#[derive(Clone, Debug)]
struct Retired {
    generation: Weak<Generation>,
    listed: Listed,
    gone: CancellationToken,
}

/// After a cut, exchanges break off within this time, unless a peer reads nothing.
const CUT_GRACE: Duration = Duration::from_secs(2);

impl Shelf {
    pub(super) fn new(retirement: Retirement) -> Self {
        Self { retirement, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one moment of a swap: exchanges that begin from now on run on `next`. The generation
    /// before is retired: its instances are told, its code is kept for a rollback, and the future
    /// that comes back sees it off and cuts it when its time is up.
    #[must_use = "the deadline is kept by whoever awaits this"]
    pub(super) fn replace(
        &self,
        slot: &Slot,
        next: Arc<Generation>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let deadline = Instant::now() + self.retirement.timeout;
        let mut state = self.state();
        if let Some(ending) = state.ending {
            next.fate().end_by(ending);
        }
        if state.cut {
            next.fate().cut();
        }
        let old = slot.swap(next);
        old.fate().end_by(deadline);
        let listed = listed(&old, Standing::Previous, 0);
        let retired =
            Retired { generation: Arc::downgrade(&old), listed: listed.clone(), gone: old.gone() };
        state.previous = Some(Previous {
            blueprint: old.blueprint().clone(),
            listed: Listed { deadline: None, ..listed },
        });
        let leaves = retired.clone().see_off(deadline);
        state.retired.push_back(retired);
        drop(state);
        // What is dropped here may be the last of it, and may take a while.
        drop(old);
        for oldest in self.excess() {
            oldest.cut("too many retired generations");
        }
        leaves
    }

    /// Takes out the oldest of those on which something still runs, as far as they are too many.
    fn excess(&self) -> Vec<Retired> {
        let mut state = self.state();
        state.retired.retain(|retired| retired.generation.strong_count() > 0);
        let excess = state.retired.len().saturating_sub(self.retirement.at_most);
        state.retired.drain(..excess).collect()
    }

    /// The code that a rollback brings back.
    pub(super) fn previous(&self) -> Option<Arc<Blueprint>> {
        self.state().previous.as_ref().map(|previous| previous.blueprint.clone())
    }

    /// Tells everything that still runs that the process drains and cuts at `deadline`.
    pub(super) fn end_all(&self, slot: &Slot, deadline: Instant) {
        let mut state = self.state();
        state.ending = Some(deadline);
        state.each(slot, |fate| fate.end_by(deadline));
    }

    /// Cuts everything that still runs.
    pub(super) fn cut_all(&self, slot: &Slot) {
        let mut state = self.state();
        state.cut = true;
        state.each(slot, Fate::cut);
    }

    /// All generations that there are, newest first.
    pub(super) fn list(&self, slot: &Slot) -> Vec<Listed> {
        let state = self.state();
        let current = slot.current();
        // This handle and the slot's own are no exchanges.
        let in_flight = Arc::strong_count(&current).saturating_sub(2);
        let mut all = vec![listed(&current, Standing::Current, in_flight)];
        let previous = state.previous.as_ref().map(|previous| previous.listed.number);
        for retired in state.retired.iter().rev() {
            // Only looked at: whoever drops the last of it frees its code, which takes a while.
            let in_flight = retired.generation.strong_count();
            if in_flight == 0 {
                continue;
            }
            let is_previous = previous == Some(retired.listed.number);
            let standing = if is_previous { Standing::Previous } else { Standing::Retired };
            all.push(Listed { standing, in_flight, ..retired.listed.clone() });
        }
        if let Some(previous) = &state.previous
            && !all.iter().any(|listed| listed.number == previous.listed.number)
        {
            all.insert(1, previous.listed.clone());
        }
        all
    }
}

impl State {
    /// Decides about every generation that there is.
    fn each(&self, slot: &Slot, decide: impl Fn(&Fate)) {
        decide(slot.current().fate());
        for generation in self.retired.iter().filter_map(|retired| retired.generation.upgrade()) {
            decide(generation.fate());
        }
    }
}

fn listed(generation: &Generation, standing: Standing, in_flight: usize) -> Listed {
    Listed {
        number: generation.number(),
        component: generation.name().to_owned(),
        path: generation.path().display().to_string(),
        digest: generation.digest().to_string(),
        kind: generation.kind(),
        standing,
        in_flight,
        since: generation.since(),
        deadline: generation.deadline(),
    }
}

impl Retired {
    /// Waits until it is gone, and cuts it when its time is up. Holds nothing of it.
    async fn see_off(self, deadline: Instant) {
        let generation = self.listed.number;
        if timeout_at(deadline, self.gone.cancelled()).await.is_err() {
            self.cut("its time is up");
            if timeout(CUT_GRACE, self.gone.cancelled()).await.is_err() {
                warn!(generation, "retired generation: still held after the cut");
                self.gone.cancelled().await;
            }
        }
        info!(generation, "retired generation is gone");
    }

    fn cut(&self, why: &str) {
        if let Some(generation) = self.generation.upgrade() {
            let in_flight = Arc::strong_count(&generation).saturating_sub(1);
            warn!(generation = self.listed.number, in_flight, why, "retired generation is cut");
            generation.fate().cut();
        }
    }
}
