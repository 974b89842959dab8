//! What is served: components by name, the routes that lead to them, and how both change.
//!
//! ```text
//! request ─→ Slot ─→ Site ─→ route ─→ App ─→ bulkhead ─→ Generation
//!              ▲
//!              └── one pointer store ←─ swap, reload ←─ Swapper (one change at a time)
//!                                                          │
//!                                            shelf: what was replaced
//! ```
//!
//! A site is immutable: each change makes another and stores one pointer, so that all of a change is
//! seen or nothing of it. May not know HTTP's wire, sockets or the lifecycle.

mod aside;
mod asking;
mod breaker;
mod bulkhead;
mod reload;
mod reserve;
mod shelf;
mod swap;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use host_manifest::routes::{RouteMatch, RoutePattern, RouteTable};
use host_manifest::{ComponentConfig, ComponentLimits, Route, Stamp};
use http::Method;
use tokio::sync::Semaphore;

use crate::component::{Generation, Settings, Source};

pub use asking::Reloads;
pub use breaker::{Breaker, Standing as BreakerStanding};
pub use bulkhead::{Bulkhead, Full, Permit};
pub use reload::{Outfitter, Reloaded};
pub use reserve::Reserve;
pub use shelf::{Listed, Retirement, Standing};
pub use swap::{Ask, LastSwap, Outcome, Swapper, Swaps, Trigger};

/// What is served at a moment. Whoever holds it holds the current generation of each component, so
/// nobody keeps one for longer than a look.
#[derive(Debug)]
pub struct Site {
    apps: BTreeMap<Arc<str>, Arc<App>>,
    routes: Arc<RouteTable<Target>>,
    /// As the manifest has them.
    ways: Arc<[Route]>,
}

/// Where a route leads.
#[derive(Clone, Debug)]
pub struct Target {
    /// What answers.
    pub component: Arc<str>,
    /// Plugins before it, the first one first.
    pub chain: Vec<Arc<str>>,
    /// What the component does not see of the path.
    pub strip: Option<Arc<str>>,
}

/// One component as it is served: its current generation, and what bounds it.
#[derive(Clone, Debug)]
pub struct App {
    /// What the manifest says of it.
    pub manifest: Arc<ComponentConfig>,
    /// What its generations are made with.
    pub settings: Arc<Settings>,
    /// What a reload reads. A rollback, or a swap to another file than a manifest's, is not undone by
    /// `--watch` before that changes.
    looked: Looked,
    /// What exchanges run on.
    pub generation: Arc<Generation>,
    /// How many run at once. The same for all its generations.
    pub bulkhead: Arc<Bulkhead>,
    /// Puts it aside when it keeps failing. Each generation has one of its own: what another did, and
    /// what ends on that yet, is not held against it.
    pub breaker: Option<Arc<Breaker>>,
}

/// The file that a reload reads for a component, as it was when it was last read for that.
#[derive(Clone, Debug)]
struct Looked {
    path: PathBuf,
    /// None if it is that of a rollback: whatever is there by then.
    stamp: Option<Stamp>,
    digest: Arc<str>,
}

impl Looked {
    fn of(source: &Source) -> Self {
        let (path, digest) = (source.path().to_owned(), source.digest().clone());
        Self { path, stamp: Some(source.stamp()), digest }
    }
}

impl App {
    /// A component with its first generation. `total` bounds the instances of all components; what
    /// bounds this one is that of `before` where the manifest says the same of it.
    fn new(
        manifest: Arc<ComponentConfig>,
        settings: Arc<Settings>,
        looked: Looked,
        generation: Arc<Generation>,
        total: &Arc<Semaphore>,
        before: Option<&Self>,
    ) -> Self {
        let bounds = |limits: &ComponentLimits| (limits.instances, limits.queue, limits.queue_wait);
        let wanted = bounds(&manifest.limits);
        let bulkhead = match before {
            Some(before) if bounds(before.limits()) == wanted => before.bulkhead.clone(),
            _ => Arc::new(Bulkhead::new(wanted.0, wanted.1, wanted.2, total.clone())),
        };
        let breaker = closed(&manifest);
        Self { manifest, settings, looked, generation, bulkhead, breaker }
    }

    /// The same component on another generation.
    fn on(&self, generation: Arc<Generation>, looked: Looked) -> Self {
        let breaker = closed(&self.manifest);
        Self { looked, generation, breaker, ..self.clone() }
    }

    /// What it may use.
    #[must_use]
    pub fn limits(&self) -> &ComponentLimits {
        &self.manifest.limits
    }
}

/// A breaker that nothing has been counted on.
fn closed(manifest: &ComponentConfig) -> Option<Arc<Breaker>> {
    manifest.breaker.map(|rule| Arc::new(Breaker::new(rule)))
}

impl Site {
    /// Everything that is served.
    fn new(apps: impl IntoIterator<Item = Arc<App>>, routes: &[Route]) -> Self {
        Self { apps: by_name(apps), routes: Arc::new(table(routes)), ways: routes.into() }
    }

    /// These components, with the routes of this site.
    fn with_all(&self, apps: impl IntoIterator<Item = Arc<App>>) -> Self {
        Self { apps: by_name(apps), routes: self.routes.clone(), ways: self.ways.clone() }
    }

    /// The same routes with one component changed.
    fn with(&self, app: App) -> Self {
        // The last one of a name counts.
        self.with_all(self.apps.values().cloned().chain([Arc::new(app)]))
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

    /// The component that serves a request which was routed to `app` before it had to wait: its latest
    /// version, unless routes have changed since. Then it is the one that the request was meant for,
    /// and so it is for one that was removed.
    #[must_use]
    pub fn latest<'a>(&'a self, app: &'a Arc<App>, ways: &Arc<[Route]>) -> &'a Arc<App> {
        let same = Arc::ptr_eq(&self.ways, ways);
        self.app(&app.manifest.name).filter(|_| same).unwrap_or(app)
    }

    /// The routes in force, to be compared by pointer.
    #[must_use]
    pub fn ways(&self) -> &Arc<[Route]> {
        &self.ways
    }

    /// Where a request goes: by its host without port, its path without query, and its method.
    #[must_use]
    pub fn route(&self, host: &str, path: &str, method: &Method) -> RouteMatch<'_, Target> {
        self.routes.find(host, path, method)
    }
}

fn by_name(apps: impl IntoIterator<Item = Arc<App>>) -> BTreeMap<Arc<str>, Arc<App>> {
    apps.into_iter().map(|app| (app.manifest.name.clone(), app)).collect()
}

fn table(routes: &[Route]) -> RouteTable<Target> {
    let target = |route: &Route| Target {
        component: route.component.clone(),
        chain: route.chain.clone(),
        strip: match &route.pattern.path {
            host_manifest::routes::PathPattern::Prefix(prefix) if route.strip_prefix => {
                Some(prefix.as_str().into())
            }
            _ => None,
        },
    };
    let entry =
        |route: &Route| -> (RoutePattern, Target) { (route.pattern.clone(), target(route)) };
    RouteTable::new(routes.iter().map(entry))
}

/// Where the current site sits. Reading takes no lock.
#[derive(Debug)]
pub struct Slot(ArcSwap<Site>);

impl Slot {
    /// A slot with the first site in it.
    #[must_use]
    pub fn new(site: Site) -> Self {
        Self(ArcSwap::from_pointee(site))
    }

    /// What is served now. Not to be held across an await.
    #[must_use]
    pub fn current(&self) -> Guard<Arc<Site>> {
        self.0.load()
    }

    /// Puts another in its place and gives back what was there.
    fn swap(&self, next: Site) -> Arc<Site> {
        self.0.swap(Arc::new(next))
    }
}
