//! How canaries begin and end: by their own decision, by an operator's word, or because another change has come.

use std::sync::Arc;

use host_manifest::CanaryConfig;
use tracing::{info, warn};

use super::app::WatchedSource;
use super::canary::{Canary, Decision};
use super::change::ChangeId;
use super::outcome::{CanaryChoice, SwapOutcome, Trigger};
use super::swap_target::SwapTarget;
use super::swapper::Swapper;
use crate::component::{Generation, Rejected, Step};

impl SwapTarget {
    /// How a new version of it takes over; at once if none.
    pub(super) fn canary(&self, choice: &CanaryChoice) -> Option<CanaryConfig> {
        let written = self.written_canary.clone();
        match choice {
            CanaryChoice::Manifest => written,
            CanaryChoice::Off => None,
            CanaryChoice::Asked(overrides) => {
                Some(written.unwrap_or_default().with(overrides.clone()))
            }
        }
    }
}

impl Swapper {
    /// Puts a proven generation beside the target's.
    pub(super) fn begin_canary(
        &mut self,
        id: ChangeId,
        target: &SwapTarget,
        (next, source): (Generation, WatchedSource),
        config: CanaryConfig,
    ) -> SwapOutcome {
        let name = &target.manifest.name;
        let current = self.context.slot.current();
        // Changes are serial, and this is the one: what was there a moment ago is there still.
        let Some(app) = current.app(name) else {
            return SwapOutcome::Unchanged { generation: target.number };
        };
        let next = Arc::new(app.with_generation(next, source));
        let canary = Canary::new(&app.deployment, &next.deployment, config);
        let site = current.with_app(app.with_candidate(next, canary.split()));
        drop(current);
        self.commit(site);
        let (component, (from, to)) = (canary.component(), canary.generations());
        self.start_canary(canary);
        self.compiles.give_up_before(id.number, [name]);
        SwapOutcome::Canary { component, from, to, took: id.began.elapsed() }
    }

    /// A canary begins, whose candidate is in the site.
    pub(super) fn start_canary(&mut self, canary: Arc<Canary>) {
        self.context.canaries.add(&canary);
        self.canaries.start(canary);
    }

    /// An operator gives the target's canary all exchanges.
    pub(super) fn promote_by_hand(&mut self, target: &SwapTarget) -> Result<SwapOutcome, Rejected> {
        self.end_by_hand(target, &Decision::Promote("an operator has promoted it".into()))
    }

    /// An operator takes the target's canary back.
    pub(super) fn abort_by_hand(&mut self, target: &SwapTarget) -> Result<SwapOutcome, Rejected> {
        self.end_by_hand(target, &Decision::Abort("an operator has taken it back".into()))
    }

    fn end_by_hand(
        &mut self,
        target: &SwapTarget,
        decision: &Decision,
    ) -> Result<SwapOutcome, Rejected> {
        let name = &target.manifest.name;
        let none = || Rejected::at(Step::Ask, format!("no canary of {name} is under way"));
        let canary = self.canaries.take(name).ok_or_else(none)?;
        Ok(self.settle(&canary, decision))
    }

    /// Takes the canary of a component back, if one is under way.
    pub(super) fn take_back(&mut self, name: &str, why: &str) {
        if let Some(canary) = self.canaries.take(name) {
            self.end_canary(&canary, &Decision::Abort(why.into()));
        }
    }

    /// A canary ends without anybody who waits for that.
    pub(super) fn end_canary(&mut self, canary: &Canary, decision: &Decision) {
        let outcome = self.settle(canary, decision);
        self.announce(outcome);
    }

    fn announce(&self, outcome: SwapOutcome) {
        if matches!(outcome, SwapOutcome::Promoted { .. }) {
            info!("swap: {outcome}");
        } else {
            warn!("swap: {outcome}");
        }
        self.record(Trigger::Canary, None, outcome);
    }

    /// Carries out how a canary ends, which has been taken out of those under way.
    fn settle(&mut self, canary: &Canary, decision: &Decision) -> SwapOutcome {
        let (component, (from, to)) = (canary.component(), canary.generations());
        let slot = self.context.slot.clone();
        let current = slot.current();
        let next = current.app(&component).and_then(|app| match decision {
            Decision::Promote(_) => app.promoted(),
            Decision::Abort(why) => {
                self.context.retired.note_aborted(app.candidate()?, why);
                Some(app.without_candidate())
            }
        });
        let site = next.map(|next| current.with_app(next));
        drop(current);
        if let Some(site) = site {
            self.commit(site);
        }
        canary.end(decision);
        match decision.clone() {
            Decision::Promote(why) => SwapOutcome::Promoted { component, from, to, why },
            Decision::Abort(why) => SwapOutcome::Aborted { component, from, to, why },
        }
    }

    /// Ends the canaries whose candidates are not in the site any more: another change has decided.
    pub(super) fn end_replaced_canaries(&mut self) {
        let slot = self.context.slot.clone();
        let is_there = |canary: &Canary| {
            let current = slot.current();
            let candidate = current.app(&canary.component()).and_then(|app| app.candidate());
            candidate.is_some_and(|next| next.generation().number() == canary.generations().1)
        };
        for canary in self.canaries.take_replaced(is_there) {
            let (component, (from, to)) = (canary.component(), canary.generations());
            let why = "another change has replaced it".to_owned();
            canary.end(&Decision::Abort(why.clone()));
            self.announce(SwapOutcome::Aborted { component, from, to, why });
        }
    }
}
