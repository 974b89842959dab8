//! Whether a new generation does worse than the one before, by what both did in the same time.
//!
//! Each rule counts requests that went badly: those that failed, or those that took longer than a bound. A new
//! generation is worse if that happens to more of its requests than the rule allows, *and* more often than to those of
//! the one before. So it is not blamed for a database that is down for both.

use std::fmt;
use std::time::Duration;

use host_manifest::{AbortRule, AbortRules, LatencyLimit};
use host_telemetry::{End, Histogram, StageTotals};

use super::evidence::{float, log_odds};

/// What ended on one generation in a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComparedTraffic {
    /// Stages that say something of the guest: it came to the end of them, or failed. Not those whose peer went away,
    /// and those that the host has refused or cut.
    pub requests: u64,
    /// Those of them that were errors: see [`host_telemetry::StageRecord::is_error`].
    pub errors: u64,
    /// How long those took that came to their end.
    pub took: Histogram,
}

/// What the judge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing speaks against it.
    Fine,
    /// More speaks against it than for it. It may be chance.
    Doubtful(Reason),
    /// It is worse.
    Worse(Reason),
}

/// By which rule, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    rule: AbortRule,
    new: Tally,
    old: Tally,
    /// What a request took at most that did not go badly, if that is the rule.
    bound: Option<Duration>,
}

/// How many of how many went badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    bad: u64,
    all: u64,
}

/// Odds of 2000 to 1. A rule looks anew in each of at most nine steps, and there are two rules by default: so a version
/// that is not worse is taken back by chance in less than one canary of a hundred.
const CERTAIN: f64 = 7.600_902_459_542_082;

/// Fewer requests have no percentile.
const FEWEST: u64 = 20;

/// Below that the host's own scheduling decides how long a request takes.
const SHORTEST: Duration = Duration::from_millis(1);

impl From<&StageTotals> for ComparedTraffic {
    fn from(totals: &StageTotals) -> Self {
        let says_something = |end: End| end == End::Finished || end.is_guest_failure();
        let requests = totals.ends().filter(|(end, _)| says_something(*end));
        let requests = requests.map(|(_, count)| count).sum();
        Self { requests, errors: totals.errors, took: totals.took.clone() }
    }
}

impl ComparedTraffic {
    /// What came since there was `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(before.requests),
            errors: self.errors.saturating_sub(before.errors),
            took: self.took.since(&before.took),
        }
    }
}

/// Compares what two generations did in the same time, by `rules`. The first requests of a generation warm up what it
/// needs, so `cold` ones are not judged by how long they take.
pub(super) fn judge(
    rules: &AbortRules,
    new: &ComparedTraffic,
    old: &ComparedTraffic,
    cold: bool,
) -> Verdict {
    let mut verdict = Verdict::Fine;
    for rule in &rules.0 {
        let found = match rule {
            AbortRule::Errors(share) => {
                let tally =
                    |sample: &ComparedTraffic| Tally { bad: sample.errors, all: sample.requests };
                Some((share.part(), tally(new), tally(old), None))
            }
            AbortRule::Percentile(..) if cold => None,
            AbortRule::Percentile(percent, limit) => slow(*percent, *limit, &new.took, &old.took),
        };
        let Some((limit, new, old, bound)) = found else { continue };
        let odds = log_odds_of_worse(limit, new, old);
        let reason = Reason { rule: *rule, new, old, bound };
        if odds >= CERTAIN {
            return Verdict::Worse(reason);
        }
        if odds > 0.0 {
            verdict = Verdict::Doubtful(reason);
        }
    }
    verdict
}

/// Both must be certain: that more than `limit` of the new generation's requests go badly, and that of all requests
/// that do, more are its own than its share of the traffic.
fn log_odds_of_worse(limit: f64, new: Tally, old: Tally) -> f64 {
    let share = float(new.all) / float(new.all + old.all).max(1.0);
    let beyond_limit = log_odds(new.bad, new.all, limit);
    let beyond_share = log_odds(new.bad, new.bad + old.bad, share);
    beyond_limit.min(beyond_share)
}

/// How many took longer than the bound, which only so many of the new generation's may. None if too few have ended for
/// a percentile.
fn slow(
    percent: u8,
    limit: LatencyLimit,
    new: &Histogram,
    old: &Histogram,
) -> Option<(f64, Tally, Tally, Option<Duration>)> {
    let part = f64::from(percent) / 100.0;
    if new.count().min(old.count()) < fewest(percent) {
        return None;
    }
    let bound = match limit {
        LatencyLimit::Times(hundredths) => {
            old.quantile(part)?.mul_f64(f64::from(hundredths) / 100.0).max(SHORTEST)
        }
        LatencyLimit::Time(time) => time,
    };
    let tally = |took: &Histogram| Tally { bad: longer(took, bound), all: took.count() };
    Some((1.0 - part, tally(new), tally(old), Some(bound)))
}

/// So many requests of each have a percentile.
fn fewest(percent: u8) -> u64 {
    FEWEST.max(100 / (100 - u64::from(percent)).max(1))
}

/// Whether enough came for this rule to say something.
pub(super) fn is_enough(
    rule: &AbortRule,
    new: &ComparedTraffic,
    old: &ComparedTraffic,
    cold: bool,
) -> bool {
    match rule {
        AbortRule::Errors(_) => true,
        AbortRule::Percentile(percent, _) => {
            !cold && new.took.count().min(old.took.count()) >= fewest(*percent)
        }
    }
}

/// How many took certainly longer: those in the bucket of the bound may have taken less.
fn longer(took: &Histogram, bound: Duration) -> u64 {
    let mut lower = Duration::ZERO;
    let mut longer = 0;
    for (upper, count) in took.buckets() {
        if lower >= bound {
            longer += count;
        }
        lower = upper.unwrap_or(lower);
    }
    longer
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, new, old, bound } = self;
        match bound {
            None => write!(f, "{rule}: {new} failed, of the version before {old}"),
            Some(bound) => {
                let bound =
                    Duration::from_micros(u64::try_from(bound.as_micros()).unwrap_or(u64::MAX));
                let bound = humantime::format_duration(bound);
                write!(f, "{rule}: {new} took longer than {bound}, of the version before {old}")
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bad, all } = self;
        write!(f, "{bad} of {all}")
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
