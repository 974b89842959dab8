//! `host ctl usage`, for people.

use super::show::table;
use crate::control::schema::{UsageFigures, UsageList};

/// What each component has used since the start, and in the last minute.
pub(super) fn usage(list: &UsageList) -> String {
    let head = [
        "COMPONENT",
        "TIME",
        "CPU",
        "MEMORY x TIME",
        "REQUESTS",
        "IN",
        "OUT",
        "OUTGOING",
        "KEY-VALUE",
    ];
    let mut rows = vec![head.map(String::from)];
    for it in &list.components {
        for (time, used) in [("start", &it.since_start), ("minute", &it.last_minute)] {
            let UsageFigures { cpu_ms, memory_byte_seconds, .. } = *used;
            rows.push([
                if time == "start" { it.component.clone() } else { String::new() },
                time.into(),
                format!("{}.{:03}s", cpu_ms / 1000, cpu_ms % 1000),
                format!("{:.1} MiB·s", memory_byte_seconds / f64::from(1 << 20)),
                used.requests.to_string(),
                size(used.received),
                size(used.sent),
                used.outgoing.to_string(),
                used.keyvalue.to_string(),
            ]);
        }
    }
    table(&rows)
}

/// Bytes, with the unit that leaves at most four digits.
fn size(bytes: u64) -> String {
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
        let text = usage(&UsageList { components: vec![shown] });
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.contains("123.456s") && text.contains("8192 MiB") && text.contains("12 KiB"));
    }
}
