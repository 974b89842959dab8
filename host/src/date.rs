//! `Date` of answers (RFC 9110 §6.6.1). hyper has one of its own that only goes forward: after the
//! clock of the machine was set back it stands still until its moment comes again.
//!
//! Seconds are all that it tells, so the clock is read once in a beat of the heart, not for each answer.

use std::cell::RefCell;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::DATE;
use http::{HeaderMap, HeaderValue};

/// The last second of the year 9999: the format has no room for more.
const LATEST: u64 = 253_402_300_799;

thread_local! {
    /// Written once a second on each thread, since every answer has one.
    static CACHED: RefCell<Cached> =
        const { RefCell::new(Cached { beat: None, second: None, text: EMPTY }) };
}

const EMPTY: HeaderValue = HeaderValue::from_static("");

struct Cached {
    /// That in which the clock was read.
    beat: Option<NonZeroU64>,
    second: Option<u64>,
    text: HeaderValue,
}

impl Cached {
    /// That of the beat. Without one, each moment is another.
    fn during(
        &mut self,
        beat: Option<NonZeroU64>,
        clock: impl FnOnce() -> SystemTime,
    ) -> HeaderValue {
        if beat.is_some() && beat == self.beat {
            return self.text.clone();
        }
        self.beat = beat;
        self.at(clock())
    }

    fn at(&mut self, now: SystemTime) -> HeaderValue {
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(LATEST);
        if self.second != Some(second) {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            self.text = HeaderValue::try_from(text).unwrap_or(EMPTY);
            self.second = Some(second);
        }
        self.text.clone()
    }
}

/// The date of this moment.
pub(crate) fn now() -> HeaderValue {
    CACHED.with_borrow_mut(|cached| cached.during(host_clock::last_beat(), SystemTime::now))
}

/// Gives an answer its date, unless it has one.
pub(crate) fn stamp(headers: &mut HeaderMap) {
    headers.entry(DATE).or_insert_with(now);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(cached: &mut Cached, seconds: u64) -> HeaderValue {
        cached.at(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// The clock is set back by an hour: hyper's date stood still for that hour.
    #[test]
    fn date_follows_a_clock_that_is_set_back() {
        let mut cached = Cached { beat: None, second: None, text: EMPTY };
        assert_eq!(at(&mut cached, 784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(&mut cached, 784_111_778), "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(at(&mut cached, 784_108_178), "Sun, 06 Nov 1994 07:49:38 GMT");
        assert_eq!(at(&mut cached, 784_111_778), "Sun, 06 Nov 1994 08:49:38 GMT");
    }

    #[test]
    fn the_clock_is_read_once_in_a_beat_and_each_time_where_no_heart_beats() {
        let mut cached = Cached { beat: None, second: None, text: EMPTY };
        let first = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let then = first + Duration::from_secs(1);
        let [one, two] = [1, 2].map(NonZeroU64::new);
        for (beat, now, seconds) in
            [(one, first, ":37"), (one, then, ":37"), (two, then, ":38"), (two, first, ":38")]
        {
            let text = cached.during(beat, || now);
            assert!(text.to_str().unwrap().contains(seconds), "{text:?}");
        }
        for (now, seconds) in [(first, ":37"), (then, ":38")] {
            let text = cached.during(None, || now);
            assert!(text.to_str().unwrap().contains(seconds), "{text:?}");
        }
    }

    #[test]
    fn clocks_beyond_the_format_give_its_ends() {
        let mut cached = Cached { beat: None, second: None, text: EMPTY };
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(cached.at(before), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(at(&mut cached, LATEST + 1), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn a_date_that_is_there_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static("mine"));
        stamp(&mut headers);
        assert_eq!(headers[DATE], "mine");
        headers.clear();
        stamp(&mut headers);
        assert_eq!(headers[DATE].len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
    }
}
