//! The rate limits of routes, as operators see them.

use std::sync::Arc;

use crate::control::schema::RateLimitStatus;
use crate::site::Site;

/// One of them, at a moment.
pub(super) struct RateLimitView {
    pub(super) component: Arc<str>,
    /// As metrics call it.
    pub(super) route: String,
    /// What it asks for.
    limit: String,
    pub(super) keys: usize,
    refused: u64,
}

/// Those of a site, in the order of its routes.
pub(super) fn views(site: &Site) -> Vec<RateLimitView> {
    let view = |(route, limit): (&host_manifest::Route, &Arc<crate::site::RouteRateLimit>)| {
        RateLimitView {
            component: route.component.clone(),
            route: route.pattern.to_string(),
            limit: limit.config().to_string(),
            keys: limit.keys(),
            refused: limit.refused(),
        }
    };
    site.rate_limits().map(view).collect()
}

impl From<RateLimitView> for RateLimitStatus {
    fn from(view: RateLimitView) -> Self {
        let RateLimitView { route, limit, keys, refused, .. } = view;
        Self { route, limit, keys: keys as u64, refused }
    }
}
