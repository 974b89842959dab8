//! Moments as lines of a log write them: in UTC, by the calendar (RFC 3339, and that of Apache).

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The last second of the year 9999: the formats have no room for more.
const LATEST: u64 = 253_402_300_799;

/// A second by the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Second {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Second {
    /// So many seconds after 1970 began. Days are counted from a first of March, so that the day of a leap year
    /// comes last (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    fn at(unix: u64) -> Self {
        let unix = unix.min(LATEST);
        let days = unix / 86_400 + 719_468;
        let of_day = unix % 86_400;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: of_year - (153 * shifted + 2) / 5 + 1,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }
}

/// `2026-11-29T10:48:30`
pub(crate) fn rfc3339_second(out: &mut impl fmt::Write, unix: u64) -> fmt::Result {
    let Second { year, month, day, hour, minute, second } = Second::at(unix);
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// `29/Nov/2026:10:48:30 +0000`, as Apache writes it.
pub(crate) fn apache_second(out: &mut impl fmt::Write, unix: u64) -> fmt::Result {
    let Second { year, month, day, hour, minute, second } = Second::at(unix);
    let month = usize::try_from(month - 1).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"");
    write!(out, "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
}

/// `2026-11-29T10:48:30.123456Z`
pub(crate) fn rfc3339(out: &mut impl fmt::Write, at: SystemTime) -> fmt::Result {
    let since = since_1970(at);
    rfc3339_second(out, since.as_secs())?;
    write!(out, ".{:06}Z", since.subsec_micros())
}

/// Moments before 1970 are its first.
pub(crate) fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Tells the time of moments that were taken from the clock that only goes forward, without a look at another
/// clock for each of them.
#[derive(Debug)]
pub(crate) struct WallClock {
    base: Instant,
    /// Nanoseconds from 1970 to `base`, as the clock of the machine has it since the last look.
    offset: AtomicI64,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        let clock = Self { base: Instant::now(), offset: AtomicI64::new(0) };
        clock.look();
        clock
    }

    /// Looks at the clock of the machine: somebody may have set it, or the machine has slept.
    pub(crate) fn look(&self) {
        let since = nanos(self.base.elapsed());
        let now = nanos(since_1970(SystemTime::now()));
        self.offset.store(now.saturating_sub(since), Ordering::Relaxed);
    }

    /// The time since 1970 at this moment.
    pub(crate) fn since_1970(&self, at: Instant) -> Duration {
        let offset = self.offset.load(Ordering::Relaxed);
        let since = match at.checked_duration_since(self.base) {
            Some(after) => nanos(after),
            None => nanos(self.base.duration_since(at)).saturating_neg(),
        };
        Duration::from_nanos(u64::try_from(offset.saturating_add(since)).unwrap_or(0))
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_those_of_the_calendar() {
        for (unix, text, apache) in [
            (0, "1970-01-01T00:00:00", "01/Jan/1970:00:00:00 +0000"),
            (951_782_399, "2000-02-28T23:59:59", "28/Feb/2000:23:59:59 +0000"),
            (951_782_400, "2000-02-29T00:00:00", "29/Feb/2000:00:00:00 +0000"),
            (951_868_800, "2000-03-01T00:00:00", "01/Mar/2000:00:00:00 +0000"),
            (1_709_164_800, "2024-02-29T00:00:00", "29/Feb/2024:00:00:00 +0000"),
            (1_795_949_310, "2026-11-29T10:48:30", "29/Nov/2026:10:48:30 +0000"),
            (4_107_542_400, "2100-03-01T00:00:00", "01/Mar/2100:00:00:00 +0000"),
            (u64::MAX, "9999-12-31T23:59:59", "31/Dec/9999:23:59:59 +0000"),
        ] {
            let (mut first, mut second) = (String::new(), String::new());
            rfc3339_second(&mut first, unix).unwrap();
            apache_second(&mut second, unix).unwrap();
            assert_eq!((&*first, &*second), (text, apache), "{unix}");
        }
    }

    #[test]
    fn moments_have_six_digits_behind_the_second() {
        let mut out = String::new();
        rfc3339(&mut out, UNIX_EPOCH + Duration::new(1_795_949_310, 7_000)).unwrap();
        assert_eq!(out, "2026-11-29T10:48:30.000007Z");
    }

    #[test]
    fn a_moment_is_told_by_its_distance_from_the_last_look() {
        let clock = WallClock::new();
        clock.offset.store(1_795_949_310_000_000_000, Ordering::Relaxed);
        let (second, base) = (Duration::from_secs(1), clock.base);
        assert_eq!(clock.since_1970(base + second).as_secs(), 1_795_949_311);
        assert_eq!(clock.since_1970(base - second).as_secs(), 1_795_949_309);
        clock.look();
        let told = clock.since_1970(base);
        let now = since_1970(SystemTime::now());
        assert!(told <= now && now - told < Duration::from_secs(600), "{told:?} {now:?}");
    }
}
