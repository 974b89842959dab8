//! `host ctl usage`, for people.

use super::screen_size::ScreenSize;
use super::table::{Cell, Cut, Table, column};
use crate::config::USAGE_COLUMNS;
use crate::control::schema::{UsageFigures, UsageList};

/// What each component has used since the start, and in the last minute; by name, or by a column of the former.
pub(super) fn usage(list: &UsageList, sort: Option<&str>, size: ScreenSize) -> String {
    let mut table = Table::new(&USAGE_COLUMNS.map(|name| match name {
        "component" => column(name, Cut::Middle),
        "requests" => column(name, Cut::Never).optional(1),
        "memory-x-time" => column(name, Cut::Never).optional(2),
        "in" => column(name, Cut::Never).optional(3),
        "out" => column(name, Cut::Never).optional(4),
        "outgoing" => column(name, Cut::Never).optional(5),
        "key-value" => column(name, Cut::Never).optional(6),
        _ => column(name, Cut::Never),
    }));
    let mut components: Vec<_> = list.components.iter().collect();
    if let Some(column) = sort {
        table.keep(column);
        let figure = |used: &UsageFigures| figure(used, column);
        components.sort_by(|a, b| figure(&b.since_start).total_cmp(&figure(&a.since_start)));
    }
    for it in components {
        for (time, used) in [("start", &it.since_start), ("minute", &it.last_minute)] {
            let UsageFigures { cpu_ms, memory_byte_seconds, .. } = *used;
            table.row(
                [
                    if time == "start" { it.component.clone() } else { String::new() },
                    time.into(),
                    format!("{}.{:03}s", cpu_ms / 1000, cpu_ms % 1000),
                    format!("{:.1} MiB·s", memory_byte_seconds / f64::from(1 << 20)),
                    used.requests.to_string(),
                    bytes(used.received),
                    bytes(used.sent),
                    used.outgoing.to_string(),
                    used.keyvalue.to_string(),
                ]
                .map(Cell::text),
            );
        }
    }
    table.print(size.columns, usize::MAX)
}

/// What a column says; nothing for a word.
#[expect(clippy::cast_precision_loss, reason = "an order needs no more than 52 bits")]
fn figure(used: &UsageFigures, column: &str) -> f64 {
    let count = match column {
        "cpu" => used.cpu_ms,
        "requests" => used.requests,
        "in" => used.received,
        "out" => used.sent,
        "outgoing" => used.outgoing,
        "key-value" => used.keyvalue,
        "memory-x-time" => return used.memory_byte_seconds,
        _ => 0,
    };
    count as f64
}

/// Bytes, with the unit that leaves at most four digits.
fn bytes(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(one, _)| bytes >= 10 * one);
    unit.map_or_else(|| format!("{bytes} B"), |(one, unit)| format!("{} {unit}", bytes / one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::schema::UsageStatus;

    #[test]
    fn the_table_fits_eighty_columns() {
        let used = UsageFigures {
            cpu_ms: 123_456,
            memory_byte_seconds: 12_345_678_901.0,
            requests: 1_234_567,
            received: 1 << 33,
            sent: 12_345,
            outgoing: 1234,
            keyvalue: 12,
        };
        let component = "a-component".into();
        let shown =
            UsageStatus { component, since_start: used, last_minute: UsageFigures::default() };
        let size = ScreenSize { columns: 80, rows: Some(24) };
        let list = UsageList { components: vec![shown.clone()] };
        let text = usage(&list, None, size);
        for columns in [40, 80, 200] {
            let size = ScreenSize { columns, rows: Some(24) };
            let text = usage(&list, None, size);
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
            assert_eq!(text.contains("KEY VALUE"), columns == 200, "{text}");
            let text = usage(&list, Some("key-value"), size);
            assert!(text.contains("KEY VALUE"), "it is sorted by them: {text}");
        }
        let first = shown.clone();
        let other = UsageStatus { component: "busy".into(), ..shown };
        let busy = UsageFigures { requests: 7_000_000, ..used };
        let list =
            UsageList { components: vec![first, UsageStatus { since_start: busy, ..other }] };
        assert!(usage(&list, None, size).lines().nth(1).unwrap().starts_with("a-compo"));
        assert!(usage(&list, Some("requests"), size).lines().nth(1).unwrap().starts_with("busy"));
        assert!(text.contains("123.456s") && text.contains("8192 MiB") && text.contains("12 KiB"));
    }
}
