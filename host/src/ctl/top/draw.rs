//! What `host ctl top` shows, as lines.

use unicode_width::UnicodeWidthStr as _;

use crate::control::schema::{ExchangeStatus, RouteStatus, Status, TrafficReport};
use crate::ctl::numbers::{age, count, errors_of, latency, rate_of};
use crate::ctl::screen_size::ScreenSize;
use crate::ctl::status::{self, minute, phase};
use crate::ctl::table::{Cell, Cut, Table, TableColumn, column, cut};

const ROUTES: [TableColumn; 6] = [
    column("worst-route", Cut::Middle),
    column("component", Cut::Middle).optional(2),
    column("req/s", Cut::Never),
    column("p50", Cut::Never).optional(1),
    column("p99", Cut::Never),
    column("errors", Cut::Never),
];

const EXCHANGES: [TableColumn; 6] = [
    column("slowest-in-flight", Cut::Never),
    column("component", Cut::Middle),
    column("route", Cut::Middle).optional(1),
    column("generation", Cut::Never).optional(3),
    column("age", Cut::Never),
    column("cpu", Cut::Never).optional(2),
];

/// Signs of a rising bar.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Lines that fill a screen of this size, or less of it.
pub(super) fn lines(status: &Status, traffic: &TrafficReport, size: ScreenSize) -> Vec<String> {
    let (width, rows) = (size.columns, size.rows.unwrap_or(24));
    let mut lines = head(status, traffic, width);
    if let Some(event) = traffic.events.last() {
        let component =
            event.component.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        let ago = age(event.ago_ms);
        lines.push(format!("latest       {}{component}, {ago} ago: {}", event.kind, event.text));
    }
    let mut components = status::table(&status.components);
    components.sort("req/s");
    let (routes, exchanges) = (routes(&traffic.routes), exchanges(&traffic.exchanges));
    let tables = [components, routes, exchanges];
    // A blank line and a head for each table; the last line says how to leave.
    let mut room = rows.saturating_sub(lines.len() + 1);
    for (index, table) in tables.iter().enumerate() {
        let left = tables.len() - index;
        let share = (room / left).saturating_sub(2);
        let shown = table.len().min(share);
        if shown > 0 {
            lines.push(String::new());
            lines.extend(table.print(width, shown).lines().map(ToOwned::to_owned));
            room = room.saturating_sub(shown + 2);
        }
    }
    lines.truncate(rows.saturating_sub(1));
    lines.push("q leaves".into());
    lines.into_iter().map(|line| cut(&line, width, Cut::End)).collect()
}

fn head(status: &Status, traffic: &TrafficReport, width: usize) -> Vec<String> {
    let requests = format!("requests     {} in the last second ", traffic.all.latest);
    let bars = bars(&traffic.seconds, width.saturating_sub(requests.width()));
    vec![
        format!(
            "host {} pid {}, {}, up {}",
            status.version,
            status.pid,
            phase(status),
            age(status.uptime_ms)
        ),
        format!("last minute  {}", minute(&traffic.all)),
        format!(
            "in flight    {}, {} of {} instances, {}",
            count(status.exchanges_in_flight, "exchange"),
            status.instances.in_use,
            status.instances.limit,
            count(status.connections.open, "connection")
        ),
        requests + &bars,
    ]
}

/// A bar for each of the last seconds, as many as there is room for, as high as the highest is.
fn bars(seconds: &[(u32, u32)], room: usize) -> String {
    let seconds = seconds.get(seconds.len().saturating_sub(room)..).unwrap_or_default();
    let most = seconds.iter().map(|(requests, _)| *requests).max().unwrap_or(0);
    let bar = |requests: u32| {
        let height = u64::from(requests) * (BARS.len() as u64 - 1);
        let index = height.checked_div(most.into()).and_then(|index| usize::try_from(index).ok());
        BARS.get(index.unwrap_or(0)).copied().unwrap_or(' ')
    };
    seconds.iter().map(|(requests, _)| bar(*requests)).collect()
}

fn routes(routes: &[RouteStatus]) -> Table {
    let mut table = Table::new(&ROUTES);
    for RouteStatus { route, component, traffic } in routes {
        table.row([
            Cell::text(route),
            Cell::text(component),
            Cell::text(rate_of(traffic)),
            Cell::text(latency(traffic.p50_us)),
            Cell::text(latency(traffic.p99_us)),
            Cell::text(errors_of(traffic)),
        ]);
    }
    table
}

fn exchanges(exchanges: &[ExchangeStatus]) -> Table {
    let mut table = Table::new(&EXCHANGES);
    let dash = || "-".to_owned();
    for exchange in exchanges {
        table.row([
            Cell::number(exchange.id),
            Cell::text(exchange.component.clone().unwrap_or_else(dash)),
            Cell::text(exchange.route.clone().unwrap_or_else(dash)),
            Cell::text(exchange.generation.map_or_else(dash, |number| number.to_string())),
            Cell::text(age(exchange.age_ms)),
            Cell::text(latency(Some(exchange.cpu_us))),
        ]);
    }
    table
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
