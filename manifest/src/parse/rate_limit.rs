//! A `[route.rate-limit]` table: as it is written, and read.

use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::reader::Reader;
use super::spanned::{Spanned, Written};
use crate::error::Problem;
use crate::{Rate, RateLimitConfig, RateLimitKey, defaults};

/// How many requests a route takes: those beyond are answered by the host, with Retry-After. No limit by default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["rate"]))]
pub(super) struct RateLimit {
    /// What is counted apart: `client`, its address (a /64 of IPv6); `header:NAME`, the value of a header; `host`.
    #[schemars(extend("default" = defaults::RATE_LIMIT_KEY))]
    pub(super) key: Option<Written<RateLimitKey>>,
    /// Requests of one key in the long run, per second, minute or hour.
    #[schemars(with = "Written<Rate>")]
    pub(super) rate: Option<Written<Rate>>,
    /// Requests of one key at once. By default as many as the rate has in its second, minute or hour.
    pub(super) burst: Option<Spanned<u64>>,
    /// The status of the answer to those beyond: 429 or 503.
    #[schemars(extend("default" = defaults::RATE_LIMIT_ANSWER))]
    pub(super) answer: Option<Spanned<u64>>,
}

/// As the longest duration that can be written.
const LONGEST_REFILL: Duration = Duration::from_secs(365 * 24 * 3600);

/// None if there is a problem.
pub(super) fn rate_limit(reader: &mut Reader<'_>, raw: &RateLimit) -> Option<RateLimitConfig> {
    let key = reader.parse_or(raw.key.as_ref(), RateLimitKey::Client);
    // The validation has reported that it is missing.
    let rate = raw.rate.as_ref().and_then(|rate| reader.parse(rate));
    let burst = match &raw.burst {
        None => rate.map(|rate| rate.count),
        Some(burst) => match read_burst(burst.value) {
            Ok(number) => Some(number),
            Err((why, help)) => {
                reader.report(Problem::new(burst.span.clone(), why).help(help));
                None
            }
        },
    };
    let answer = match &raw.answer {
        None => Some(StatusCode::TOO_MANY_REQUESTS),
        Some(answer) => match answer.value {
            429 => Some(StatusCode::TOO_MANY_REQUESTS),
            503 => Some(StatusCode::SERVICE_UNAVAILABLE),
            _ => {
                let problem = Problem::new(
                    answer.span.clone(),
                    "requests beyond a rate limit are answered with 429 or 503",
                );
                reader.report(problem.help("write one of them, or leave answer out for 429"));
                None
            }
        },
    };
    let (rate, burst) = (rate?, burst?);
    if rate.refills(burst) > LONGEST_REFILL {
        let place = raw.burst.as_ref().map_or(0..0, |burst| burst.span.clone());
        let problem = Problem::new(place, "a burst that takes more than a year to come back");
        reader.report(problem.help("lower it, or raise rate"));
    }
    Some(RateLimitConfig { key, rate, burst, answer: answer? })
}

/// This many requests at once; or what is wrong with the number, and what to do.
fn read_burst(burst: u64) -> Result<NonZeroU32, (String, &'static str)> {
    let Ok(number) = u32::try_from(burst) else {
        let why = format!("a burst can be at most {}", u32::MAX);
        return Err((why, "lower it, or leave burst out"));
    };
    NonZeroU32::new(number).ok_or_else(|| {
        ("a burst of 0 lets nothing through".into(), "write 1 or more, or leave burst out")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::refused;
    use super::*;

    /// 4294967296 was cut to 4294967295 without a word.
    #[test]
    fn burst_beyond_what_can_be_counted_is_refused_and_not_cut() {
        assert_eq!(read_burst(u64::from(u32::MAX)).map(NonZeroU32::get), Ok(u32::MAX));
        let limit = "[[route]]\npath = \"/\"\ncomponent = \"shop\"\n\
                     rate-limit = { rate = \"1000000/s\", burst = 4294967296 }";
        let line = refused(limit).one_line();
        let says = ":6:44: a burst can be at most 4294967295; lower it";
        assert!(line.contains(says), "{line}");
    }
}
