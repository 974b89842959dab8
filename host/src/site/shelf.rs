//! Generations that no longer take new exchanges, and the one that may come back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Site, Slot};
use crate::component::{Fate, Generation, Kept, Kind};

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

/// What an exchange and the site hold is the generation itself, so that it is gone with the last of
/// them. The shelf only knows of it.
#[derive(Debug)]
pub(super) struct Shelf {
    retirement: Retirement,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the name of the component.
    previous: BTreeMap<Arc<str>, Previous>,
    retired: VecDeque<Retired>,
    /// The process drains, and cuts then.
    ending: Option<Instant>,
    /// The process cuts.
    cut: bool,
}

/// What a rollback needs, and what the list shows of it when nothing runs on it any more.
#[derive(Debug)]
struct Previous {
    kept: Kept,
    listed: Listed,
}

#[derive(Clone, Debug)]
struct Retired {
    /// Of which component.
    app: Arc<str>,
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

    /// The one moment of a change: exchanges that begin from now on see `next`. Generations that are
    /// not in it any more are retired: their instances are told, their code is kept for a rollback,
    /// and the futures that come back see each off and cut it when its time is up.
    #[must_use = "the deadlines are kept by whoever awaits these"]
    pub(super) fn replace(
        &self,
        slot: &Slot,
        next: Site,
    ) -> Vec<impl Future<Output = ()> + Send + 'static> {
        let deadline = Instant::now() + self.retirement.timeout;
        let mut state = self.state();
        for app in next.apps() {
            if let Some(ending) = state.ending {
                app.generation.fate().end_by(ending);
            }
            if state.cut {
                app.generation.fate().cut();
            }
        }
        let old = slot.swap(next);
        let now = slot.current();
        let mut leaves = Vec::new();
        for (name, app) in &old.apps {
            let stays = now.app(name).map(|app| &app.generation);
            if stays.is_some_and(|stays| Arc::ptr_eq(stays, &app.generation)) {
                continue;
            }
            let retired = Retired::new(name, &app.generation, deadline);
            // Other limits on the same code are nothing to go back to.
            if stays.is_some_and(|stays| stays.digest() != app.generation.digest()) {
                let kept = app.generation.blueprint().kept();
                let listed = Listed { deadline: None, ..retired.listed.clone() };
                state.previous.insert(name.clone(), Previous { kept, listed });
            }
            leaves.push(retired.clone().see_off(deadline));
            state.retired.push_back(retired);
        }
        state.previous.retain(|name, _| now.app(name).is_some());
        drop(state);
        drop(now);
        // What is dropped here may be the last of it, and may take a while.
        drop(old);
        for oldest in self.excess() {
            oldest.cut("too many retired generations");
        }
        leaves
    }

    /// Takes out the oldest of those on which something still runs, as far as a component has too
    /// many of them.
    fn excess(&self) -> Vec<Retired> {
        let mut state = self.state();
        state.retired.retain(|retired| retired.generation.strong_count() > 0);
        let mut of_each: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let mut excess = Vec::new();
        // From the newest on.
        for index in (0..state.retired.len()).rev() {
            let Some(retired) = state.retired.get(index) else { continue };
            let count = of_each.entry(retired.app.clone()).or_default();
            *count += 1;
            if *count > self.retirement.at_most {
                excess.extend(state.retired.remove(index));
            }
        }
        excess
    }

    /// The code that a rollback of a component brings back.
    pub(super) fn previous(&self, name: &str) -> Option<Kept> {
        self.state().previous.get(name).map(|previous| previous.kept.clone())
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
        let mut list: Vec<Listed> = Vec::new();
        for app in slot.current().apps() {
            // One is the site's own.
            let in_flight = Arc::strong_count(&app.generation).saturating_sub(1);
            list.push(listed(&app.generation, Standing::Current, in_flight));
        }
        let is_previous =
            |number: u64| state.previous.values().any(|previous| previous.listed.number == number);
        for retired in &state.retired {
            let in_flight = retired.generation.strong_count();
            if in_flight > 0 {
                let number = retired.listed.number;
                let standing =
                    if is_previous(number) { Standing::Previous } else { Standing::Retired };
                list.push(Listed { in_flight, standing, ..retired.listed.clone() });
            }
        }
        for previous in state.previous.values() {
            if list.iter().all(|listed| listed.number != previous.listed.number) {
                list.push(previous.listed.clone());
            }
        }
        list.sort_by_key(|listed| std::cmp::Reverse(listed.number));
        list
    }
}

impl State {
    /// Decides about every generation that there is.
    fn each(&self, slot: &Slot, decide: impl Fn(&Fate)) {
        for app in slot.current().apps() {
            decide(app.generation.fate());
        }
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
    /// Decides the end of a generation that has been replaced.
    fn new(app: &Arc<str>, generation: &Arc<Generation>, deadline: Instant) -> Self {
        generation.fate().end_by(deadline);
        Self {
            app: app.clone(),
            generation: Arc::downgrade(generation),
            listed: listed(generation, Standing::Previous, 0),
            gone: generation.gone(),
        }
    }

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
