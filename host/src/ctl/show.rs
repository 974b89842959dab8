//! Answers for people: aligned, with times as people write them.

use super::numbers::age;
use crate::control::schema::{
    CanaryList, CanaryStatus, CanaryTraffic, ChangeOutcome, StopProgress, UpgradeReport,
};

/// `host ctl canary`
pub(super) fn canaries(list: &CanaryList) -> String {
    if list.canaries.is_empty() {
        return "no canary is under way, and there was none\n".into();
    }
    let lines = list.canaries.iter();
    lines.map(|it| canary_end(it).unwrap_or_else(|| canary_progress(it))).collect()
}

/// How far a canary is, as one line.
pub(super) fn canary_progress(canary: &CanaryStatus) -> String {
    let CanaryStatus { component, to, share, step, steps, .. } = canary;
    let time = match &canary.waits_for {
        Some(why) => format!("waits: {why}"),
        None => format!("{} left", age(canary.left_ms)),
    };
    let CanaryTraffic { requests, errors, .. } = canary.new;
    let (new, old) = (p99(&canary.new), p99(&canary.old));
    let before = format!("{}: {}/{}", canary.from, canary.old.errors, canary.old.requests);
    format!(
        "{component}: {to} at {share} ({step}/{steps}), {time}: {errors}/{requests} failed{new} ({before}{old})\n"
    )
}

fn p99(traffic: &CanaryTraffic) -> String {
    traffic.p99_ms.map_or_else(String::new, |p99| format!(", p99 {p99:.1}ms"))
}

/// How a canary ended, as one line.
pub(super) fn canary_end(canary: &CanaryStatus) -> Option<String> {
    let CanaryStatus { component, from, to, end, .. } = canary;
    let (component, from, to, end) = (component.clone(), *from, *to, end.as_ref()?);
    let why = end.why.clone();
    Some(outcome(&match end.promoted {
        true => ChangeOutcome::Promoted { component, from, to, why },
        false => ChangeOutcome::Aborted { component, from, to, why },
    }))
}

/// What became of an upgrade, as one line.
pub(super) fn upgraded(report: &UpgradeReport) -> String {
    let UpgradeReport { pid, version, connections, took_ms } = report;
    let took = age(*took_ms);
    format!(
        "upgraded: process {pid}, host {version}, serves after {took}, with {connections} idle connections\n"
    )
}

/// What became of a swap, as one line.
pub(super) fn outcome(outcome: &ChangeOutcome) -> String {
    match outcome {
        ChangeOutcome::Swapped { from, to, took_ms } => {
            format!("swapped: generation {from} to {to} in {}\n", age(*took_ms))
        }
        ChangeOutcome::Canary { component, from, to, took_ms } => {
            let took = age(*took_ms);
            format!("canary: generation {to} of {component} takes over from {from}, after {took}\n")
        }
        ChangeOutcome::Promoted { component, from, to, why } => {
            format!("promoted: generation {to} of {component} serves in place of {from}: {why}\n")
        }
        ChangeOutcome::Aborted { component, from, to, why } => {
            format!(
                "aborted: generation {to} of {component} is taken back, {from} goes on: {why}\n"
            )
        }
        ChangeOutcome::Unchanged { generation } => {
            format!("unchanged: generation {generation} is what the file holds\n")
        }
        ChangeOutcome::Reloaded {
            added,
            changed,
            removed,
            canaries,
            routes,
            certificates,
            left,
            restart,
            took_ms,
        } => {
            let mut parts = Vec::new();
            for (what, names) in
                [("added", added), ("changed", changed), ("removed", removed), ("canary", canaries)]
            {
                if !names.is_empty() {
                    parts.push(format!("{what} {}", names.join(", ")));
                }
            }
            if *routes {
                parts.push("routes changed".into());
            }
            if !certificates.is_empty() {
                parts.push(format!("certificates {}", certificates.join(", ")));
            }
            let done = if parts.is_empty() {
                "unchanged: what is served is what the manifest says\n".to_owned()
            } else {
                format!("reloaded in {}: {}\n", age(*took_ms), parts.join("; "))
            };
            let left: String =
                left.iter().map(|name| format!("left to a later change: {name}\n")).collect();
            let restart: String =
                restart.iter().map(|part| format!("needs a restart: {part}\n")).collect();
            done + &left + &restart
        }
        ChangeOutcome::Rejected { step, why, .. } => format!("rejected ({step}): {why}\n"),
    }
}

/// What is in flight, as one line.
pub(super) fn progress(progress: &StopProgress) -> String {
    format!("{}\n", progress.line())
}

/// The answer to a stop that is not followed. It may come before the phase has changed.
pub(super) fn asked_to_stop(progress: &StopProgress) -> String {
    format!("asked to stop: {}\n", progress.in_flight())
}

pub(super) fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

#[cfg(test)]
mod tests {
    use crate::control::schema::PhaseName;

    use super::*;

    #[test]
    fn progress_of_a_stop_says_how_much_time_it_has() {
        let progress = StopProgress {
            phase: PhaseName::Draining,
            elapsed_ms: 1500,
            deadline_ms: Some(25_000),
            exchanges: 1,
            connections: 2,
            afterwork: 0,
            upgrades: 0,
        };
        let line = super::progress(&progress);
        assert_eq!(line, "draining 1.5s of 25s: 1 exchange, 2 connections\n");
        let line = super::progress(&StopProgress { deadline_ms: None, ..progress });
        assert!(line.starts_with("draining: "), "{line}");
    }
}
