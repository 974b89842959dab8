//! Generations that have been replaced: they take no new exchanges, and end with their last one or at a
//! deadline. The code of one of them is kept for a rollback.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::app::{App, Deployment};
use super::slot::{Site, Slot};
use crate::component::{CutReason, Generation, KeptCode, Kind, Retirement};

/// How long replaced generations may linger.
#[derive(Clone, Copy, Debug)]
pub struct RetirementPolicy {
    /// From the swap to the cut of what still runs on the old generation.
    pub timeout: Duration,
    /// Replaced generations of one component at once. Beyond that the oldest is cut.
    pub at_most: usize,
}

/// What a generation is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationRole {
    /// It takes new exchanges.
    Current,
    /// It takes some of them, and is judged by that.
    Canary,
    /// It took some of them, and was taken back.
    Aborted,
    /// It takes none, but a rollback would bring its code back.
    Previous,
    /// It takes none, and goes with its last exchange.
    Retired,
}

impl GenerationRole {
    /// The word for it in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Canary => "canary",
            Self::Aborted => "aborted",
            Self::Previous => "previous",
            Self::Retired => "retired",
        }
    }
}

/// One generation, as an operator sees it.
#[derive(Clone, Debug)]
pub struct GenerationInfo {
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
    /// What it is there for.
    pub role: GenerationRole,
    /// Exchanges on it, and instances at work after their answer.
    pub in_flight: usize,
    /// When it was made.
    pub since: Instant,
    /// When what still runs on it is cut.
    pub deadline: Option<Instant>,
    /// Why it was taken back, if it was.
    pub why: Option<String>,
}

/// Knows the replaced generations without holding them: the exchanges hold them, so that a generation is
/// gone with the last of its exchanges.
#[derive(Debug)]
pub(super) struct RetiredGenerations {
    policy: RetirementPolicy,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    /// By the name of the component.
    previous: BTreeMap<Arc<str>, Previous>,
    /// The last candidate that was taken back, by the name of the component, until another version comes.
    aborted: BTreeMap<Arc<str>, GenerationInfo>,
    retired: VecDeque<Retired>,
    /// The process drains, and cuts at this moment.
    process_deadline: Option<Instant>,
    /// The process cuts.
    process_cuts: bool,
}

/// The code for a rollback, and what operators see of it when nothing runs on it any more.
#[derive(Debug)]
struct Previous {
    kept: KeptCode,
    info: GenerationInfo,
}

#[derive(Clone, Debug)]
struct Retired {
    component: Arc<str>,
    deployment: Weak<Deployment>,
    info: GenerationInfo,
    gone: CancellationToken,
}

/// After a cut, exchanges break off within this time, unless a peer reads nothing.
const CUT_GRACE: Duration = Duration::from_secs(2);

impl RetiredGenerations {
    pub(super) fn new(policy: RetirementPolicy) -> Self {
        Self { policy, list: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one moment of a change: exchanges that begin from now on see `next`. A generation that is
    /// not in `next` is retired: its instances are told, and its code is kept for a rollback. Each
    /// returned future sees one such generation off: it waits until that is gone, and cuts it at its
    /// deadline.
    #[must_use = "the deadlines are kept by whoever awaits these"]
    pub(super) fn replace(
        &self,
        slot: &Slot,
        next: Site,
    ) -> Vec<impl Future<Output = ()> + Send + 'static> {
        let deadline = Instant::now() + self.policy.timeout;
        let mut list = self.lock();
        list.tell_of_the_stop(&next);
        let old = slot.swap(next);
        let now = slot.current();
        let mut leaving = Vec::new();
        for app in old.apps() {
            let (name, now) = (&app.manifest.name, now.app(&app.manifest.name));
            if now.is_some_and(|now| now.deployments().any(|other| !app.runs(other))) {
                list.aborted.remove(name);
            }
            for deployment in app.deployments() {
                if now.is_some_and(|now| now.runs(deployment)) {
                    continue;
                }
                let retired = Retired::new(name, deployment, deadline);
                let generation = &deployment.generation;
                // Other limits on the same code are nothing to go back to, nor is a candidate.
                let has_served = Arc::ptr_eq(deployment, &app.deployment);
                if has_served && now.is_some_and(|now| generation.runs_other_code(now.generation()))
                {
                    let kept = generation.blueprint().kept();
                    let info = GenerationInfo { deadline: None, ..retired.info.clone() };
                    list.previous.insert(name.clone(), Previous { kept, info });
                }
                leaving.push(retired.clone().see_off(deadline));
                list.retired.push_back(retired);
            }
        }
        list.previous.retain(|name, _| now.app(name).is_some());
        list.aborted.retain(|name, _| now.app(name).is_some());
        drop(list);
        drop(now);
        // This may be the last of the old generations, and take a while.
        drop(old);
        for oldest in self.take_excess() {
            oldest.cut("too many retired generations");
        }
        leaving
    }

    /// Takes the oldest generations off the list, where a component has too many on which something
    /// still runs.
    fn take_excess(&self) -> Vec<Retired> {
        let mut list = self.lock();
        list.retired.retain(|retired| retired.deployment.strong_count() > 0);
        let mut count_by_component: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let mut excess = Vec::new();
        // From the newest on.
        for index in (0..list.retired.len()).rev() {
            let Some(retired) = list.retired.get(index) else { continue };
            let count = count_by_component.entry(retired.component.clone()).or_default();
            *count += 1;
            if *count > self.policy.at_most {
                excess.extend(list.retired.remove(index));
            }
        }
        excess
    }

    /// The code that a rollback of this component brings back.
    pub(super) fn previous(&self, component: &str) -> Option<KeptCode> {
        self.lock().previous.get(component).map(|previous| previous.kept.clone())
    }

    /// Lists a candidate that was taken back, for this reason, until another version of its component comes.
    pub(super) fn note_aborted(&self, candidate: &App, why: &str) {
        let info = info_of(candidate.generation(), GenerationRole::Aborted, 0);
        let info = GenerationInfo { deadline: None, why: Some(why.to_owned()), ..info };
        self.lock().aborted.insert(candidate.manifest.name.clone(), info);
    }

    /// Tells everything that still runs that the process drains and cuts at `deadline`.
    pub(super) fn end_all(&self, slot: &Slot, deadline: Instant) {
        let mut list = self.lock();
        list.process_deadline = Some(deadline);
        list.for_each_retirement(slot, |retirement| retirement.end_by(deadline));
    }

    /// The stop cuts everything that still runs, and what has no generation yet.
    pub(super) fn cut_all(&self, slot: &Slot) {
        let mut list = self.lock();
        list.process_cuts = true;
        // All see it before the first one breaks off: a chain has exchanges of several generations.
        list.for_each_retirement(slot, |retirement| retirement.announce_cut(CutReason::Stop));
        slot.retirement().cut(CutReason::Stop);
        list.for_each_retirement(slot, |retirement| retirement.cut(CutReason::Stop));
    }

    /// All generations that there are, newest first.
    pub(super) fn infos(&self, slot: &Slot) -> Vec<GenerationInfo> {
        let list = self.lock();
        let mut infos: Vec<GenerationInfo> = Vec::new();
        for app in slot.current().apps() {
            for deployment in app.deployments() {
                // One is the site's own.
                let in_flight = Arc::strong_count(deployment).saturating_sub(1);
                let is_current = Arc::ptr_eq(deployment, &app.deployment);
                let role =
                    if is_current { GenerationRole::Current } else { GenerationRole::Canary };
                infos.push(info_of(&deployment.generation, role, in_flight));
            }
        }
        // What operators see of those that nothing may run on any more.
        let previous = list.previous.values().map(|previous| &previous.info);
        let mut kept: Vec<GenerationInfo> =
            previous.chain(list.aborted.values()).cloned().collect();
        for retired in &list.retired {
            let in_flight = retired.deployment.strong_count();
            match kept.iter_mut().find(|info| info.number == retired.info.number) {
                Some(info) if in_flight > 0 => {
                    (info.in_flight, info.deadline) = (in_flight, retired.info.deadline);
                }
                None if in_flight > 0 => {
                    let role = GenerationRole::Retired;
                    infos.push(GenerationInfo { in_flight, role, ..retired.info.clone() });
                }
                Some(_) | None => {}
            }
        }
        infos.extend(kept);
        infos.sort_by_key(|info| std::cmp::Reverse(info.number));
        infos
    }
}

impl List {
    /// A generation that comes while the process drains ends with it.
    fn tell_of_the_stop(&self, next: &Site) {
        for deployment in next.apps().flat_map(|app| app.deployments()) {
            let retirement = deployment.generation.retirement();
            if let Some(deadline) = self.process_deadline {
                retirement.end_by(deadline);
            }
            if self.process_cuts {
                retirement.cut(CutReason::Stop);
            }
        }
    }

    /// Decides about every generation that there is.
    fn for_each_retirement(&self, slot: &Slot, decide: impl Fn(&Retirement)) {
        for deployment in slot.current().apps().flat_map(|app| app.deployments()) {
            decide(deployment.generation.retirement());
        }
        for retired in self.retired.iter().filter_map(|retired| retired.deployment.upgrade()) {
            decide(retired.generation.retirement());
        }
    }
}

fn info_of(generation: &Generation, role: GenerationRole, in_flight: usize) -> GenerationInfo {
    GenerationInfo {
        number: generation.number(),
        component: generation.name().to_owned(),
        path: generation.path().display().to_string(),
        digest: generation.digest().to_string(),
        kind: generation.kind(),
        role,
        in_flight,
        since: generation.since(),
        deadline: generation.deadline(),
        why: None,
    }
}

impl Retired {
    /// Decides the end of a generation that has been replaced.
    fn new(component: &Arc<str>, deployment: &Arc<Deployment>, deadline: Instant) -> Self {
        let generation = &deployment.generation;
        generation.retirement().end_by(deadline);
        Self {
            component: component.clone(),
            deployment: Arc::downgrade(deployment),
            info: info_of(generation, GenerationRole::Previous, 0),
            gone: generation.gone(),
        }
    }

    /// Waits until it is gone, and cuts it when its time is up. Holds nothing of it.
    async fn see_off(self, deadline: Instant) {
        let generation = self.info.number;
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
        if let Some(deployment) = self.deployment.upgrade() {
            let in_flight = Arc::strong_count(&deployment).saturating_sub(1);
            warn!(generation = self.info.number, in_flight, why, "retired generation is cut");
            deployment.generation.retirement().cut(CutReason::Retired);
        }
    }
}
