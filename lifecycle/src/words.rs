//! Numbers and times as the lines of a stop have them.

use std::fmt;
use std::time::Duration;

/// A time in seconds: `1.204s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(3);
        write!(f, "{:.digits$}s", self.0.as_secs_f64())
    }
}

/// `1 exchange`, `2 exchanges`.
#[must_use]
pub fn counted(number: u64, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

/// What is in flight, in words: `1 exchange, 2 connections`.
#[must_use]
pub fn in_flight(
    (exchanges, connections): (u64, u64),
    (afterwork, instances): (u64, u64),
    upgrades: u64,
) -> String {
    let mut parts = Vec::new();
    let mut add = |number, what| {
        if number > 0 {
            parts.push(counted(number, what));
        }
    };
    add(exchanges, "exchange");
    add(connections, "connection");
    add(instances, "reusable instance");
    match afterwork {
        0 => {}
        1 => parts.push("1 at work after its answer".into()),
        more => parts.push(format!("{more} at work after their answers")),
    }
    match upgrades {
        0 => {}
        1 => parts.push("an upgrade that is not over".into()),
        more => parts.push(format!("{more} upgrades that are not over")),
    }
    if parts.is_empty() { "nothing in flight".into() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds() {
        let seconds = |micros| Seconds(Duration::from_micros(micros));
        assert_eq!(seconds(1_204_499).to_string(), "1.204s");
        assert_eq!(format!("{:.0} {:.1}", seconds(25_000_000), seconds(153_000)), "25s 0.2s");
    }

    #[test]
    fn one_is_one() {
        assert_eq!(
            in_flight((1, 1), (1, 1), 1),
            "1 exchange, 1 connection, 1 reusable instance, 1 at work after its answer, an upgrade that is not over"
        );
        assert_eq!(
            in_flight((2, 3), (4, 0), 2),
            "2 exchanges, 3 connections, 4 at work after their answers, 2 upgrades that are not over"
        );
        assert_eq!(in_flight((0, 0), (0, 0), 0), "nothing in flight");
    }
}
