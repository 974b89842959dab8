//! A request at the rate limit of its route: by which key it is counted, and what its client is told of the limit.

use std::num::NonZeroU32;

use host_manifest::routes::plain_host;
use host_manifest::{RateLimitConfig, RateLimitKey};
use host_ratelimit::RateKey;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::client::RequestClient;
use super::failure::{Failure, whole_seconds};
use crate::site::RouteRateLimit;

/// The fields of draft-ietf-httpapi-ratelimit-headers-11, §3 and §4.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const SERVICE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What a client is told of the limit that it is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateLimitFields {
    /// Requests at once, and the seconds in which as many come back.
    quota: (NonZeroU32, u32),
    /// Requests that it may still send,
    left: u32,
    /// within so many seconds.
    window: u32,
}

/// Counts a request of this client.
///
/// # Errors
/// It is one too many.
pub(super) fn check<B>(
    limit: &RouteRateLimit,
    client: &RequestClient,
    request: &Request<B>,
) -> Result<RateLimitFields, (Failure, RateLimitFields)> {
    let config = limit.config();
    let checked = match &config.key {
        RateLimitKey::Client => limit.check(RateKey::client(client.address())),
        RateLimitKey::Header(name) => {
            let mut values = request.headers().get_all(name).iter();
            // Of several a guest may read any: who adds one for each request would never be limited.
            limit.check(match (values.next(), values.next()) {
                (Some(value), None) => RateKey::Text(value.as_bytes()),
                _ => RateKey::Absent,
            })
        }
        RateLimitKey::Host => {
            let host = plain_host(request.uri().host().unwrap_or_default());
            limit.check(RateKey::Text(host.as_bytes()))
        }
    };
    let quota = (config.burst, whole_seconds(config.rate.refills(config.burst)).max(1));
    match checked {
        Ok(allowed) => {
            Ok(RateLimitFields { quota, left: allowed.left, window: refill(config, allowed.left) })
        }
        Err(exceeded) => {
            let window = whole_seconds(exceeded.wait).max(1);
            let failure = Failure::RateLimited { answer: config.answer, retry: window };
            Err((failure, RateLimitFields { quota, left: 0, window }))
        }
    }
}

/// Seconds until a key that has so many left has its whole burst.
fn refill(config: &RateLimitConfig, left: u32) -> u32 {
    let taken = NonZeroU32::new(config.burst.get().saturating_sub(left));
    taken.map_or(0, |taken| whole_seconds(config.rate.refills(taken)))
}

impl RateLimitFields {
    /// Writes them into the head of an answer, unless a guest tells of limits of its own.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        if headers.contains_key(SERVICE_LIMIT) || headers.contains_key(POLICY) {
            return;
        }
        let Self { quota: (burst, refilled), left, window } = self;
        for (name, value) in [
            (POLICY, format!("\"default\";q={burst};w={refilled}")),
            (SERVICE_LIMIT, format!("\"default\";r={left};t={window}")),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}
