//! Rate limits of routes. What they refuse is among the exchanges, with its reason.

use std::fmt;

use super::page::{Page, family};
use crate::admin::rate_limits::RateLimitView;

/// Writes the keys that each limit holds.
pub(super) fn keys(page: &mut Page<'_>, limits: &[RateLimitView]) -> fmt::Result {
    let keys = family("host_rate_limit_keys", "Clients, or other keys, that a rate limit holds.");
    page.gauges(&keys, |samples| {
        limits.iter().try_for_each(|limit| {
            let labels = [("host_component", &*limit.component), ("http_route", &*limit.route)];
            samples.gauge(&labels, limit.keys as f64)
        })
    })
}
