//! The steps of a canary over time: from what was seen so far to what is to be done now.

use std::time::Duration;

use host_clock::Moment;
use host_manifest::{AbortRule, AbortRules, CanaryConfig, TrafficShare};

use super::judge::{ComparedTraffic, Verdict, is_enough, judge};

/// One look at both generations.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Of the generation before.
    pub(super) old: Seen,
    /// Of the new one.
    pub(super) new: Seen,
}

/// What can be seen of a generation at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// What has ended on it, since it was made.
    pub(super) traffic: ComparedTraffic,
    /// How many exchanges are on it.
    pub(super) in_flight: usize,
    /// Its breaker is open.
    pub(super) put_aside: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Nothing. If the time for the next step has come, it says why that is not taken.
    Stay(Option<String>),
    /// The new generation gets this share from now on.
    Step(TrafficShare),
    /// It gets all.
    Promote,
    /// It gets nothing any more, for this reason.
    Abort(String),
}

/// Where a canary is in its steps.
#[derive(Debug)]
pub(super) struct Ramp {
    config: CanaryConfig,
    steps: Vec<TrafficShare>,
    /// Which of them it is.
    index: usize,
    /// When the next one is due.
    due: Moment,
    /// When there must have been an end.
    deadline: Moment,
    /// What both generations had seen when the step began: what is compared came since, while the share was one and the
    /// same. So whatever happens to the host happens to both.
    before: (ComparedTraffic, ComparedTraffic),
    /// Rules for which too few requests came in any step so far.
    unasked: Vec<AbortRule>,
}

/// Requests of the new generation that must have ended in a step before the next one. Fewer say nothing: it may fail
/// one in four, and none of them is among ten with a probability of 6 %.
const FEWEST: u64 = 10;

/// Where there is little traffic, a canary takes longer than it was to, but not longer than this many times.
const LONGEST: u32 = 10;

impl Ramp {
    /// Begins now, with what both generations have seen already.
    pub(super) fn new(config: CanaryConfig, look: &Look) -> Self {
        let (steps, now) = (config.steps(), Moment::now());
        let before = (look.old.traffic.clone(), look.new.traffic.clone());
        let unasked = config.abort_if.0.clone();
        let mut ramp = Self { config, steps, index: 0, due: now, deadline: now, before, unasked };
        ramp.deadline = now + ramp.config.period * LONGEST;
        ramp.due = now + ramp.each();
        ramp
    }

    /// What the new generation gets now.
    pub(super) fn share(&self) -> TrafficShare {
        self.steps.get(self.index).copied().unwrap_or(TrafficShare::ALL)
    }

    /// Which step it is, counted from 1, and of how many.
    pub(super) fn step(&self) -> (usize, usize) {
        (self.index + 1, self.steps.len())
    }

    /// Until the new generation gets all, if nothing holds it up.
    pub(super) fn left(&self) -> Duration {
        let steps = self.steps.len().saturating_sub(self.index + 1);
        self.due.left() + self.each() * u32::try_from(steps).unwrap_or(u32::MAX)
    }

    /// Decides what is to be done now.
    pub(super) fn look(&mut self, look: &Look) -> Move {
        let (old, new) = self.compared(look);
        let is_cold = self.index == 0;
        let verdict = judge(&self.config.abort_if, &new, &old, is_cold);
        self.unasked.retain(|rule| !is_enough(rule, &new, &old, is_cold));
        if let Verdict::Worse(reason) = verdict {
            return Move::Abort(reason.to_string());
        }
        if look.new.put_aside && !look.old.put_aside {
            return Move::Abort("it keeps failing, and its breaker opened".into());
        }
        let waits_for = self.waits_for(&verdict, &new, look);
        if !self.due.is_over() {
            return Move::Stay(None);
        }
        match waits_for {
            None => self.next(look),
            Some(why) if self.deadline.is_over() => {
                let longest = humantime::format_duration(self.config.period * LONGEST);
                Move::Abort(format!("not decided after {longest}: {why}"))
            }
            Some(why) => Move::Stay(Some(why)),
        }
    }

    /// Why the new generation gets all: a rule that never had a say is no praise.
    pub(super) fn why_promoted(&self) -> String {
        let nothing = "nothing spoke against it";
        if self.unasked.is_empty() {
            return nothing.into();
        }
        let unasked = AbortRules(self.unasked.clone());
        format!("{nothing}; too few requests came for {unasked}")
    }

    /// What has to come before the next step, if anything has.
    fn waits_for(&self, verdict: &Verdict, new: &ComparedTraffic, look: &Look) -> Option<String> {
        if let Verdict::Doubtful(reason) = verdict {
            return Some(format!("in doubt, {reason}"));
        }
        // The first step is smaller than what was asked for. Where little traffic comes, that is too small.
        let goes_on = self.share() < self.config.share && look.new.in_flight == 0;
        let requests = new.requests;
        (requests < FEWEST && !goes_on)
            .then(|| format!("{requests} of {FEWEST} requests at {}", self.share()))
    }

    fn next(&mut self, look: &Look) -> Move {
        self.index += 1;
        self.before = (look.old.traffic.clone(), look.new.traffic.clone());
        // A look that comes late does not make the whole longer, but a wait for requests does.
        let late = self.due.elapsed();
        let now = Moment::now();
        self.due = if late < self.each() / 2 { self.due } else { now } + self.each();
        match self.steps.get(self.index) {
            Some(share) => Move::Step(*share),
            None => Move::Promote,
        }
    }

    fn compared(&self, look: &Look) -> (ComparedTraffic, ComparedTraffic) {
        let (old, new) = &self.before;
        (look.old.traffic.since(old), look.new.traffic.since(new))
    }

    fn each(&self) -> Duration {
        self.config.period / u32::try_from(self.steps.len()).unwrap_or(1).max(1)
    }
}

#[cfg(test)]
#[path = "ramp_tests.rs"]
mod tests;
