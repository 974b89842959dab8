//! `host ctl status`: the host on one screen.

use host_manifest::escape;

use super::numbers::{age, count, errors_of, latency, rate_of};
use super::screen_size::ScreenSize;
use super::show;
use super::table::{Cell, Cut, Table, TableColumn, column, cut};
use crate::control::schema::{
    ComponentStatus, ConnectionCounts, RateLimitStatus, Status, StoreStatus, TlsCertificateStatus,
    TlsListenerStatus, TrafficStatus,
};

/// Seconds.
const DAY: u64 = 24 * 60 * 60;

const COLUMNS: [TableColumn; 9] = [
    column("component", Cut::Middle),
    column("req/s", Cut::Never),
    column("p50", Cut::Never).optional(1),
    column("p99", Cut::Never),
    column("errors", Cut::Never),
    column("instances", Cut::Never).optional(2),
    column("generation", Cut::Never).optional(3),
    column("last-swap", Cut::Never).optional(4),
    column("memory", Cut::Never).optional(5),
];

/// The whole, on a screen of this size: the busiest components if there is no room for all.
pub(super) fn status(status: &Status, size: ScreenSize) -> String {
    let mut lines = head(status);
    lines.extend(certificates(&status.tls));
    lines.extend(troubles(status));
    // What strangers have put into a line may be longer once it is harmless.
    let fitting = |line: &String| cut(&escape::harmless(line), size.columns, Cut::End) + "\n";
    let mut text: String = lines.iter().map(fitting).collect();
    if !status.components.is_empty() {
        // Beside a blank line, the head of the table, and the prompt below.
        let room = size.rows.map(|rows| rows.saturating_sub(lines.len() + 3));
        text += "\n";
        text += &components(&status.components, size.columns, room);
    }
    text
}

/// The limits in force.
pub(super) fn limits(status: &Status, size: ScreenSize) -> String {
    let mut table = Table::new(&[column("limit", Cut::Never), column("value", Cut::End)]);
    for (name, value) in &status.limits {
        table.row([Cell::text(format!("--{name}")), Cell::text(value)]);
    }
    table.print(size.columns, usize::MAX)
}

fn head(status: &Status) -> Vec<String> {
    let Status { connections: open, instances, traffic, .. } = status;
    vec![
        format!(
            "host {} pid {}, {}, up {}",
            status.version,
            status.pid,
            phase(status),
            age(status.uptime_ms)
        ),
        format!("listening    {}", show::or_dash(status.addresses.join(" "))),
        format!("last minute  {}", minute(traffic)),
        format!(
            "in flight    {}, {} at work after their answer, {} of {} instances",
            count(status.exchanges_in_flight, "exchange"),
            status.afterwork_in_flight,
            instances.in_use,
            instances.limit
        ),
        format!(
            "connections  {}: {} idle, {} reading, {} serving, {} writing{}",
            open.open,
            open.idle,
            open.reading,
            open.serving,
            open.writing,
            handshakes(*open)
        ),
    ]
}

/// Said where there are any.
fn handshakes(open: ConnectionCounts) -> String {
    match open.handshake {
        0 => String::new(),
        under_way => format!(", {under_way} in a TLS handshake"),
    }
}

/// Certificates that are shown, those that end first.
const MOST_CERTIFICATES: usize = 6;

fn certificates(listeners: &[TlsListenerStatus]) -> Vec<String> {
    let each = |listener: &TlsListenerStatus| {
        let named = |it: &TlsCertificateStatus| (it.left_s, certificate(&listener.listener, it));
        listener.certificates.iter().map(named).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = listeners.iter().flat_map(each).collect();
    all.sort();
    let more = all.len().saturating_sub(MOST_CERTIFICATES);
    let mut lines: Vec<_> = all.into_iter().take(MOST_CERTIFICATES).map(|(_, line)| line).collect();
    if more > 0 {
        lines.push(format!("certificate  {more} more, which end later"));
    }
    for TlsListenerStatus { listener, errors, .. } in listeners {
        let failed = errors.iter();
        lines.extend(failed.map(|why| format!("not loaded   listener {listener}: {why}")));
    }
    lines
}

fn certificate(listener: &str, certificate: &TlsCertificateStatus) -> String {
    let TlsCertificateStatus { file, names, not_after, left_s, loaded_ms_ago, .. } = certificate;
    let name = match &names[..] {
        [] => file.display().to_string(),
        [name] => name.clone(),
        [name, more @ ..] => format!("{name} and {} more", more.len()),
    };
    let ends = match left_s {
        ..0 => format!("ended {not_after}"),
        _ => format!("until {not_after} ({})", count(left_s.unsigned_abs() / DAY, "day")),
    };
    format!("certificate  {listener}: {name} {ends}, loaded {} ago", age(*loaded_ms_ago))
}

fn troubles(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(swap) = &status.last_swap {
        let what = show::outcome(&swap.outcome);
        let what = what.trim_end();
        lines.push(format!("last swap    {} ago by {}: {what}", age(swap.ago_ms), swap.trigger));
    }
    for StoreStatus { store, why, failing_ms } in &status.stores {
        lines.push(format!("store fails  {store}, for {}: {why}", age(*failing_ms)));
    }
    for limit in status.rate_limits.iter().filter(|limit| limit.refused > 0) {
        let RateLimitStatus { route, limit, keys, refused } = limit;
        lines.push(format!("rate limit   {route}: {limit}: {refused} refused, {keys} keys held"));
    }
    for component in &status.components {
        if let Some(left) = component.put_aside_ms {
            let ComponentStatus { name, .. } = component;
            lines.push(format!("put aside    {name} keeps failing, for {} more", age(left)));
        }
    }
    lines
}

/// One line of a minute.
pub(super) fn minute(traffic: &TrafficStatus) -> String {
    format!(
        "{} requests/s, p50 {}, p99 {}, {} failed ({})",
        rate_of(traffic),
        latency(traffic.p50_us),
        latency(traffic.p99_us),
        errors_of(traffic),
        count(traffic.errors, "error")
    )
}

/// The phase, with the stop that is under way.
pub(super) fn phase(status: &Status) -> String {
    let name = status.phase.name();
    match &status.stopping {
        None => name.into(),
        Some(stop) => {
            let (asked, deadline) = (age(stop.asked_ms_ago), age(stop.deadline_ms));
            format!("{name}, stop asked for {asked} ago, cut at {deadline}")
        }
    }
}

/// A line for each component, as many as there is room for.
fn components(components: &[ComponentStatus], width: usize, room: Option<usize>) -> String {
    let mut table = table(components);
    let room = match room {
        // One line says how many more there are.
        Some(room) if table.len() > room => {
            table.sort("req/s");
            room.saturating_sub(1)
        }
        _ => table.len(),
    };
    let mut text = table.print(width, room);
    if table.len() > room {
        let more = format!("{} more; `host ctl status | less` shows all", table.len() - room);
        text += &(cut(&more, width, Cut::End) + "\n");
    }
    text
}

/// The components, in their order.
pub(super) fn table(components: &[ComponentStatus]) -> Table {
    let mut table = Table::new(&COLUMNS);
    for component in components {
        let ComponentStatus { traffic, instances, .. } = component;
        table.row([
            Cell::text(&component.name),
            Cell::sized(rate_of(traffic), traffic.requests),
            Cell::sized(latency(traffic.p50_us), traffic.p50_us.unwrap_or(0)),
            Cell::sized(latency(traffic.p99_us), traffic.p99_us.unwrap_or(0)),
            Cell::sized(errors_of(traffic), traffic.errors),
            Cell::sized(format!("{}/{}", instances.in_use, instances.limit), instances.in_use),
            Cell::number(component.generation),
            Cell::text(component.swapped_ms_ago.map_or_else(|| "-".into(), age)),
            Cell::sized(mebibytes(component.memory), component.memory),
        ]);
    }
    table
}

fn mebibytes(bytes: u64) -> String {
    format!("{}.{}MiB", bytes >> 20, (bytes >> 10) % 1024 * 10 / 1024)
}

#[cfg(test)]
#[path = "status_tests.rs"]
pub(super) mod tests;
