//! Answers for people: aligned, with times as people write them.

use std::fmt::Write as _;

use host_manifest::escape;

use crate::control::schema::{
    CanaryList, CanaryStatus, CanaryTraffic, ChangeOutcome, ComponentStatus, ConnectionActivity,
    ConnectionList, GenerationList, GenerationState, GenerationStatus, Status, StopProgress,
    StoreStatus,
};

/// `host ctl status`
pub(super) fn status(status: &Status) -> String {
    let Status { connections: open, instances, .. } = status;
    let mut rows = vec![
        [
            "host".into(),
            format!("{} pid {}, up {}", status.version, status.pid, age(status.uptime_ms)),
        ],
        ["phase".into(), phase(status)],
        ["listening".into(), or_dash(status.addresses.join(" "))],
        [
            "connections".into(),
            format!(
                "{} open: {} idle, {} reading, {} serving, {} writing",
                open.open, open.idle, open.reading, open.serving, open.writing
            ),
        ],
        [
            "in flight".into(),
            format!(
                "{} exchanges, {} at work after their answer",
                status.exchanges_in_flight, status.afterwork_in_flight
            ),
        ],
        ["instances".into(), format!("{} of {}", instances.in_use, instances.limit)],
    ];
    if let Some(swap) = &status.last_swap {
        let what = outcome(&swap.outcome);
        let what = what.trim_end();
        rows.push([
            "last swap".into(),
            format!("{} ago by {}: {what}", age(swap.ago_ms), swap.trigger),
        ]);
    }
    for StoreStatus { store, why, failing_ms } in &status.stores {
        rows.push(["store fails".into(), format!("{store}, for {}: {why}", age(*failing_ms))]);
    }
    let mut text = table(&rows);
    if !status.components.is_empty() {
        text += "\n";
        text += &components(&status.components);
    }
    if !status.generations.is_empty() {
        text += "\n";
        text += &list(&status.generations);
    }
    let limits: Vec<_> =
        status.limits.iter().map(|(name, value)| [format!("--{name}"), value.clone()]).collect();
    if !limits.is_empty() {
        text += "\n";
        text += &table(&limits);
    }
    text
}

fn components(components: &[ComponentStatus]) -> String {
    let mut rows =
        vec![["COMPONENT", "GENERATION", "INSTANCES", "MEMORY", "PUT ASIDE"].map(String::from)];
    rows.extend(components.iter().map(|component| {
        [
            component.name.clone(),
            component.generation.to_string(),
            format!("{} of {}", component.instances.in_use, component.instances.limit),
            format!("{} KiB", component.memory >> 10),
            component.put_aside_ms.map_or_else(|| "-".into(), age),
        ]
    }));
    table(&rows)
}

fn phase(status: &Status) -> String {
    let name = status.phase.name();
    match &status.stopping {
        None => name.into(),
        Some(stop) => {
            let (asked, deadline) = (age(stop.asked_ms_ago), age(stop.deadline_ms));
            format!("{name}, stop asked for {asked} ago, cut at {deadline}")
        }
    }
}

/// `host ctl connections`
pub(super) fn connections(list: &ConnectionList) -> String {
    let head =
        ["ID", "PEER", "LISTENER", "PROTOCOL", "STATE", "AGE", "QUIET", "REQUESTS", "IN FLIGHT"];
    let mut rows = vec![head.map(String::from)];
    rows.extend(list.connections.iter().map(|connection| {
        [
            connection.id.to_string(),
            connection.peer.clone(),
            connection.listener.clone(),
            connection.protocol.name().into(),
            ConnectionActivity::name(connection.state).into(),
            age(connection.age_ms),
            age(connection.idle_ms),
            connection.exchanges_served.to_string(),
            connection.exchanges_in_flight.to_string(),
        ]
    }));
    table(&rows)
}

/// `host ctl generations`
pub(super) fn generations(generations: &GenerationList) -> String {
    list(&generations.generations)
}

fn list(generations: &[GenerationStatus]) -> String {
    let head = [
        "GENERATION",
        "COMPONENT",
        "STATE",
        "SINCE",
        "IN FLIGHT",
        "CUT IN",
        "KIND",
        "DIGEST",
        "PATH",
    ];
    let mut rows = vec![head.map(String::from)];
    rows.extend(generations.iter().map(|generation| {
        let state = match generation.state {
            GenerationState::Current => "current",
            GenerationState::Canary => "canary",
            GenerationState::Aborted => "aborted",
            GenerationState::Previous => "previous",
            GenerationState::Retired => "retired",
        };
        [
            generation.number.to_string(),
            generation.component.clone(),
            generation.share.as_ref().map_or_else(|| state.into(), |it| format!("{state} {it}")),
            age(generation.since_ms),
            generation.in_flight.to_string(),
            generation.deadline_ms.map_or_else(|| "-".into(), age),
            generation.kind.clone(),
            generation.digest.chars().take(DIGEST).collect(),
            escape::quote(&generation.path.display().to_string()),
        ]
    }));
    let mut text = table(&rows);
    for generation in generations {
        if let Some(why) = &generation.why {
            text += &format!("generation {} was taken back: {why}\n", generation.number);
        }
    }
    text
}

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

/// Enough of a digest to tell two files apart.
const DIGEST: usize = 12;

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

/// A time as people write it, with two figures at most.
fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    let two = |most: u64, first: &str, rest: u64, second: &str| match rest {
        0 => format!("{most}{first}"),
        rest => format!("{most}{first} {rest}{second}"),
    };
    match seconds {
        0 => format!("{ms}ms"),
        1..60 => format!("{seconds}.{}s", ms % 1000 / 100),
        60..3600 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..86400 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => two(seconds / 86400, "d", seconds % 86400 / 3600, "h"),
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

/// Columns as wide as their widest cell, two spaces apart.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to text cannot fail.
            write!(line, "{cell:width$}  ").ok();
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::control::schema::PhaseName;

    use super::*;

    #[test]
    fn times_are_as_people_write_them() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1000, "1.0s"),
            (59_999, "59.9s"),
            (60_000, "1m"),
            (61_000, "1m 1s"),
            (3_600_000, "1h"),
            (3_660_000, "1h 1m"),
            (90_000_000, "1d 1h"),
            (u64::MAX, "213503982334d 14h"),
        ] {
            assert_eq!(age(ms), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["ID", "STATE"], ["1", "idle"], ["1000", ""]].map(|row| row.map(String::from));
        assert_eq!(table(&rows), "ID    STATE\n1     idle\n1000\n");
    }

    #[test]
    fn progress_of_a_stop_says_how_much_time_it_has() {
        let progress = StopProgress {
            phase: PhaseName::Draining,
            elapsed_ms: 1500,
            deadline_ms: Some(25_000),
            exchanges: 1,
            connections: 2,
            afterwork: 0,
        };
        let line = super::progress(&progress);
        assert_eq!(line, "draining 1.5s of 25s: 1 exchange, 2 connections\n");
        let line = super::progress(&StopProgress { deadline_ms: None, ..progress });
        assert!(line.starts_with("draining: "), "{line}");
    }
}
