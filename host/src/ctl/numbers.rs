//! Numbers as people write them, short enough for a column.

use crate::control::schema::TrafficStatus;

/// A time as people write it, with two figures at most.
pub(super) fn age(ms: u64) -> String {
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

/// A short time: `0.8ms`, `14ms`, `1.2s`; a dash for none.
pub(super) fn latency(us: Option<u64>) -> String {
    match us {
        None => "-".into(),
        Some(us @ 0..1_000) => format!("0.{}ms", us / 100),
        Some(us @ 1_000..10_000) => format!("{}.{}ms", us / 1_000, us % 1_000 / 100),
        Some(us @ 10_000..1_000_000) => format!("{}ms", us / 1_000),
        Some(us) => age(us / 1_000),
    }
}

/// How many a second: `0`, `0.3`, `12`, `1,204`.
pub(super) fn rate(count: u64, window_ms: u64) -> String {
    let tenths = count.saturating_mul(10_000).checked_div(window_ms).unwrap_or(0);
    match tenths {
        0 if count == 0 => "0".into(),
        0 => "<0.1".into(),
        1..100 => format!("{}.{}", tenths / 10, tenths % 10),
        _ => grouped(tenths / 10),
    }
}

/// Which part of all: `0`, `0.3%`, `12%`; at least `0.1%` if there is any.
pub(super) fn share(part: u64, all: u64) -> String {
    let tenths = part.saturating_mul(1_000).checked_div(all).unwrap_or(0);
    match tenths {
        _ if part == 0 => "0".into(),
        0..100 => format!("{}.{}%", tenths / 10, (tenths % 10).max(u64::from(tenths == 0))),
        _ => format!("{}%", tenths / 10),
    }
}

/// Requests a second of a minute.
pub(super) fn rate_of(minute: &TrafficStatus) -> String {
    rate(minute.requests, minute.window_ms)
}

/// Errors of a minute.
pub(super) fn errors_of(minute: &TrafficStatus) -> String {
    share(minute.errors, minute.requests)
}

/// `1 exchange`, `2 exchanges`.
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A number with a comma for each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
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
    fn latencies_have_two_figures() {
        for (us, text) in
            [(0, "0.0ms"), (850, "0.8ms"), (1_250, "1.2ms"), (14_900, "14ms"), (1_200_000, "1.2s")]
        {
            assert_eq!(latency(Some(us)), text);
        }
        assert_eq!(latency(None), "-");
    }

    #[test]
    fn rates_and_shares_say_little_and_not_nothing() {
        for (count, text) in [(0, "0"), (1, "<0.1"), (18, "0.3"), (720, "12"), (72_240, "1,204")] {
            assert_eq!(rate(count, 60_000), text);
        }
        assert_eq!(rate(0, 0), "0");
        for (part, all, text) in
            [(0, 0, "0"), (1, 100_000, "0.1%"), (3, 1000, "0.3%"), (1, 8, "12%")]
        {
            assert_eq!(share(part, all), text);
        }
        assert_eq!(
            (count(1, "exchange"), count(1000, "exchange")),
            ("1 exchange".into(), "1,000 exchanges".into())
        );
    }
}
