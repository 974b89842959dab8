//! A `[route.rate-limit]` table: as it is written, and read.

use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::reader::Reader;
use super::spanned::{Spanned, Written};
use super::values::small;
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
        Some(burst) => {
            let number = NonZeroU32::new(small(burst.value));
            if number.is_none() {
                let problem = Problem::new(burst.span.clone(), "a burst of 0 lets nothing through");
                reader.report(problem.help("write 1 or more, or leave burst out"));
            }
            number
        }
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
