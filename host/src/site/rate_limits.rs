//! The rate limits of routes, with what their keys have left: over reloads and swaps, as long as a route asks for the
//! same.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use host_manifest::routes::RoutePattern;
use host_manifest::{RateLimitConfig, Route};
use host_ratelimit::{Allowed, Burst, Exceeded, KeyedLimiter, RateKey};

/// The rate limit of one route.
#[derive(Debug)]
pub struct RouteRateLimit {
    config: RateLimitConfig,
    limiter: KeyedLimiter,
    refused: AtomicU64,
}

impl RouteRateLimit {
    fn new(config: RateLimitConfig) -> Self {
        let burst = Burst { of: config.burst, refilled_in: config.rate.refills(config.burst) };
        Self { config, limiter: KeyedLimiter::new(burst), refused: AtomicU64::new(0) }
    }

    /// What the route asks for.
    #[must_use]
    pub fn config(&self) -> &RateLimitConfig {
        &self.config
    }

    /// Takes one request of this key.
    ///
    /// # Errors
    /// There were too many of them.
    pub fn check(&self, key: RateKey<'_>) -> Result<Allowed, Exceeded> {
        self.limiter.check(key).inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Keys that are held.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.limiter.held()
    }

    /// Requests that it has refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Those of all routes that have one.
#[derive(Clone, Debug, Default)]
pub(super) struct RateLimits(HashMap<RoutePattern, Arc<RouteRateLimit>>);

impl RateLimits {
    /// Those that these routes ask for. One that is in `before` for the same requests goes on.
    pub(super) fn new(routes: &[Route], before: &Self) -> Self {
        let limit = |route: &Route| {
            let config = route.rate_limit.as_ref()?;
            let same = before.of(&route.pattern).filter(|limit| limit.config == *config);
            let limit = same.cloned().unwrap_or_else(|| RouteRateLimit::new(config.clone()).into());
            Some((route.pattern.clone(), limit))
        };
        Self(routes.iter().filter_map(limit).collect())
    }

    /// That of the route with this pattern, if it has one.
    pub(super) fn of(&self, pattern: &RoutePattern) -> Option<&Arc<RouteRateLimit>> {
        self.0.get(pattern)
    }
}

#[cfg(test)]
mod tests {
    use host_manifest::routes::PathPattern;

    use super::*;

    fn route(path: &str, rate: Option<&str>) -> Route {
        let rate_limit = rate.map(|rate| RateLimitConfig {
            key: "client".parse().unwrap(),
            rate: rate.parse().unwrap(),
            burst: 1.try_into().unwrap(),
            answer: http::StatusCode::TOO_MANY_REQUESTS,
        });
        let path = PathPattern::Prefix(path.into());
        let pattern = RoutePattern { host: None, path, methods: Vec::new() };
        let (chain, component) = (Vec::new(), "shop".into());
        let headers = None;
        Route {
            pattern,
            chain,
            component,
            strip_prefix: false,
            compress: None,
            rate_limit,
            headers,
        }
    }

    #[test]
    fn a_limit_goes_on_while_its_route_asks_for_the_same() {
        let shop = route("/shop", Some("1/h"));
        let first =
            RateLimits::new(&[shop.clone(), route("/cart", Some("1/h"))], &RateLimits::default());
        let of = |limits: &RateLimits, path| limits.of(&route(path, None).pattern).unwrap().clone();
        let elsewhere = Route { component: "other".into(), ..shop };
        let second = RateLimits::new(&[elsewhere, route("/cart", Some("2/h"))], &first);
        assert!(Arc::ptr_eq(&of(&first, "/shop"), &of(&second, "/shop")));
        assert!(!Arc::ptr_eq(&of(&first, "/cart"), &of(&second, "/cart")));
        assert!(!Arc::ptr_eq(&of(&first, "/cart"), &of(&first, "/shop")), "each its own");
        let third = RateLimits::new(&[route("/shop", None)], &second);
        assert!(third.of(&route("/shop", None).pattern).is_none());
    }
}
