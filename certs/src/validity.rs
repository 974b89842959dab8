//! From when and until when a certificate holds.

use std::time::{SystemTime, UNIX_EPOCH};

use x509_parser::time::ASN1Time;

/// Seconds since 1970 in UTC, now. The one place of this crate that reads the time of day.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// From when and until when a certificate holds, in seconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: i64,
    /// Its last second.
    pub not_after: i64,
}

impl Validity {
    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self, now: i64) -> bool {
        now > self.not_after
    }

    /// Whether it has yet to begin.
    #[must_use]
    pub fn is_early(&self, now: i64) -> bool {
        now < self.not_before
    }

    /// Seconds until its end; less than 0 if it has ended.
    #[must_use]
    pub fn left(&self, now: i64) -> i64 {
        self.not_after.saturating_sub(now)
    }
}

/// A moment as RFC 3339 has it: `2026-11-29T17:26:00Z`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let Ok(moment) = ASN1Time::from_timestamp(seconds) else { return format!("{seconds}s") };
    let moment = moment.to_datetime();
    let (date, time) = (moment.date(), moment.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}
