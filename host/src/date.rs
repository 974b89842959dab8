//! `Date` of answers (RFC 9110 §6.6.1). hyper has one of its own that only goes forward: after the
//! clock of the machine was set back it stands still until its moment comes again.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::DATE;
use http::{HeaderMap, HeaderValue};

/// The last second of the year 9999: the format has no room for more.
const LATEST: u64 = 253_402_300_799;

thread_local! {
    /// Written once a second on each thread, since every answer has one.
    static CACHED: RefCell<Cached> = const { RefCell::new(Cached { second: None, text: EMPTY }) };
}

const EMPTY: HeaderValue = HeaderValue::from_static("");

struct Cached {
    second: Option<u64>,
    text: HeaderValue,
}

impl Cached {
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
    let now = SystemTime::now();
    CACHED.with_borrow_mut(|cached| cached.at(now))
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
        let mut cached = Cached { second: None, text: EMPTY };
        assert_eq!(at(&mut cached, 784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(&mut cached, 784_111_778), "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(at(&mut cached, 784_108_178), "Sun, 06 Nov 1994 07:49:38 GMT");
        assert_eq!(at(&mut cached, 784_111_778), "Sun, 06 Nov 1994 08:49:38 GMT");
    }

    #[test]
    fn clocks_beyond_the_format_give_its_ends() {
        let mut cached = Cached { second: None, text: EMPTY };
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
