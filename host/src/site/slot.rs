//! The site that is served, and the slot with the pointer to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use host_manifest::routes::{PathPattern, RouteMatch, RoutePattern, RouteTable};
use host_manifest::{ChainEntry, CompressConfig, Route, RouteHeaders};
use host_telemetry::{RouteLabel, Traffic};
use http::Method;

use super::app::App;
use super::rate_limits::{RateLimits, RouteRateLimit};
use crate::component::{CutReason, Retirement, RouteConfig};

/// What is served at a moment. It holds the current generation of each component, so keep it for one
/// look and no longer.
#[derive(Debug)]
pub struct Site {
    apps: BTreeMap<Arc<str>, Arc<App>>,
    table: Arc<RouteTable<RouteTarget>>,
    /// As the manifest has them.
    routes: Arc<[Route]>,
    edition: RoutesEdition,
    rate_limits: RateLimits,
}

/// Which routes: those of another manifest have another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutesEdition(u64);

impl RoutesEdition {
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// Where a route leads.
#[derive(Clone, Debug)]
pub struct RouteTarget {
    /// What logs and metrics call it.
    pub label: &'static RouteLabel,
    /// The component that answers.
    pub component: Arc<str>,
    /// Plugins before it, the first one first, with their configurations on this route.
    pub chain: Vec<(Arc<str>, Option<RouteConfig>)>,
    /// The prefix that is cut off the path before the component sees it.
    pub strip: Option<Arc<str>>,
    /// How many requests it takes; all if none.
    pub rate_limit: Option<Arc<RouteRateLimit>>,
    /// How responses are compressed, if they are.
    pub compress: Option<CompressConfig>,
    /// What is done with headers, if anything is.
    pub headers: Option<Arc<RouteHeaders>>,
}

impl Site {
    /// These components and these routes, which are counted in `traffic`.
    pub(super) fn new(
        apps: impl IntoIterator<Item = Arc<App>>,
        routes: &[Route],
        traffic: &Traffic,
    ) -> Self {
        Self::with_limits(apps, routes, traffic, RateLimits::new(routes, &RateLimits::default()))
    }

    /// These components and these routes, whose rate limits go on where they are those of this site.
    pub(super) fn with_routes(
        &self,
        apps: impl IntoIterator<Item = Arc<App>>,
        routes: &[Route],
        traffic: &Traffic,
    ) -> Self {
        Self::with_limits(apps, routes, traffic, RateLimits::new(routes, &self.rate_limits))
    }

    fn with_limits(
        apps: impl IntoIterator<Item = Arc<App>>,
        routes: &[Route],
        traffic: &Traffic,
        rate_limits: RateLimits,
    ) -> Self {
        let table = Arc::new(table(routes, traffic, &rate_limits));
        let (apps, edition) = (by_name(apps), RoutesEdition::next());
        Self { apps, table, routes: routes.into(), edition, rate_limits }
    }

    /// These components, with the routes of this site.
    pub(super) fn with_apps(&self, apps: impl IntoIterator<Item = Arc<App>>) -> Self {
        let (table, routes) = (self.table.clone(), self.routes.clone());
        let (edition, rate_limits) = (self.edition, self.rate_limits.clone());
        Self { apps: by_name(apps), table, routes, edition, rate_limits }
    }

    /// The same routes with one component changed.
    pub(super) fn with_app(&self, app: App) -> Self {
        // The last one of a name counts.
        self.with_apps(self.apps.values().cloned().chain([Arc::new(app)]))
    }

    /// The component of this name.
    #[must_use]
    pub fn app(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.get(name)
    }

    /// All components, by name.
    pub fn apps(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.values()
    }

    /// The version that serves a request which was routed to `app`, by routes of this edition, before
    /// it had to wait. That is the component's latest version; if routes have changed since, or the
    /// component was removed, it is `app` itself.
    #[must_use]
    pub fn latest<'a>(&'a self, app: &'a Arc<App>, edition: RoutesEdition) -> &'a Arc<App> {
        let same = self.edition == edition;
        self.app(&app.manifest.name).filter(|_| same).unwrap_or(app)
    }

    /// The routes in force.
    #[must_use]
    pub fn routes(&self) -> &Arc<[Route]> {
        &self.routes
    }

    /// The routes that have a rate limit, in the order of the manifest.
    pub fn rate_limits(&self) -> impl Iterator<Item = (&Route, &Arc<RouteRateLimit>)> {
        self.routes.iter().filter_map(|route| Some((route, self.rate_limits.of(&route.pattern)?)))
    }

    /// Which routes these are.
    #[must_use]
    pub fn edition(&self) -> RoutesEdition {
        self.edition
    }

    /// Where a request goes: by its host without port, its path without query, and its method.
    #[must_use]
    pub fn route(&self, host: &str, path: &str, method: &Method) -> RouteMatch<'_, RouteTarget> {
        self.table.find(host, path, method)
    }
}

fn by_name(apps: impl IntoIterator<Item = Arc<App>>) -> BTreeMap<Arc<str>, Arc<App>> {
    apps.into_iter().map(|app| (app.manifest.name.clone(), app)).collect()
}

fn table(routes: &[Route], traffic: &Traffic, limits: &RateLimits) -> RouteTable<RouteTarget> {
    let plugin =
        |entry: &ChainEntry| (entry.plugin.clone(), entry.config.as_deref().map(RouteConfig::new));
    let target = |route: &Route| RouteTarget {
        label: traffic.route(&route.pattern.to_string(), &route.component),
        component: route.component.clone(),
        chain: route.chain.iter().map(plugin).collect(),
        compress: route.compress,
        headers: route.headers.clone(),
        strip: match &route.pattern.path {
            PathPattern::Prefix(prefix) if route.strip_prefix => Some(prefix.as_str().into()),
            PathPattern::Prefix(_) | PathPattern::Exact(_) => None,
        },
        rate_limit: limits.of(&route.pattern).cloned(),
    };
    let entry =
        |route: &Route| -> (RoutePattern, RouteTarget) { (route.pattern.clone(), target(route)) };
    RouteTable::new(routes.iter().map(entry))
}

/// Holds the pointer to the current site. Reading takes no lock.
#[derive(Debug)]
pub struct Slot {
    site: ArcSwap<Site>,
    /// Of exchanges that have no generation yet: nothing but the stop ends them.
    retirement: Retirement,
}

impl Slot {
    /// A slot with the first site in it.
    #[must_use]
    pub fn new(site: Site) -> Self {
        Self { site: ArcSwap::from_pointee(site), retirement: Retirement::default() }
    }

    /// What is served now. Not to be held across an await.
    #[must_use]
    pub fn current(&self) -> Guard<Arc<Site>> {
        self.site.load()
    }

    /// Waits until the stop cuts what has no generation yet. What has one asks that. Cancel-safe.
    pub async fn cut(&self) -> CutReason {
        self.retirement.watch().cut().await
    }

    pub(super) fn retirement(&self) -> &Retirement {
        &self.retirement
    }

    /// Stores another site and returns the one that was there.
    pub(super) fn swap(&self, next: Site) -> Arc<Site> {
        self.site.swap(Arc::new(next))
    }
}
