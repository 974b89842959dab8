//! The way of a request through a site: plugins, then the component that is to answer.

use std::collections::VecDeque;
use std::sync::Arc;

use host_manifest::{ComponentConfig, ComponentLimits, Route};
use http::uri::PathAndQuery;
use http::{Request, Uri};

use crate::site::{App, ChainPermits, RouteTarget, Site};

/// The components that a request goes through: plugins, then the one that is to answer.
#[derive(Clone, Debug)]
pub(super) struct Way {
    stops: VecDeque<Stop>,
    ways: Arc<[Route]>,
    /// What the last one does not see of the path.
    strip: Option<Arc<str>>,
    reserve: ChainPermits,
}

/// One of them.
#[derive(Clone, Debug)]
struct Stop {
    entry: Arc<ComponentConfig>,
    /// As it was when the request was routed: one that is removed meanwhile serves it yet. None once
    /// the request is there: only its exchange may hold a generation.
    app: Option<Arc<App>>,
}

impl Way {
    /// None where the site lacks one of them, which a checked manifest does not.
    pub(super) fn new(site: &Site, target: &RouteTarget) -> Option<Self> {
        let names = target.chain.iter().chain([&target.component]);
        let stop = |name: &Arc<str>| {
            let app = site.app(name)?;
            Some(Stop { entry: app.manifest.clone(), app: Some(app.clone()) })
        };
        let stops: Option<VecDeque<_>> = names.map(stop).collect();
        let (ways, strip) = (site.routes().clone(), target.strip.clone());
        let stops = stops.filter(|stops| !stops.is_empty())?;
        Some(Self { stops, ways, strip, reserve: ChainPermits::default() })
    }

    /// Whose turn it is, as the manifest had it when the request was routed.
    pub(super) fn first(&self) -> Option<&ComponentConfig> {
        self.stops.front().map(|stop| &*stop.entry)
    }

    /// Whose turn it is, in the site that is served now.
    pub(super) fn latest<'a>(&'a self, site: &'a Site) -> Option<&'a Arc<App>> {
        let stop = self.stops.front()?;
        match &stop.app {
            Some(app) => Some(site.latest(app, &self.ways)),
            None => site.app(&stop.entry.name),
        }
    }

    /// Nobody waits on this way any more.
    pub(super) fn let_go(&mut self) {
        self.stops.iter_mut().for_each(|stop| stop.app = None);
    }

    /// The request is there.
    pub(super) fn arrive(&mut self) {
        if let Some(stop) = self.stops.front_mut() {
            stop.app = None;
        }
    }

    /// What is said of everybody from here on.
    pub(super) fn limits(&self) -> impl Iterator<Item = &ComponentLimits> {
        self.stops.iter().map(|stop| &stop.entry.limits)
    }

    /// The instances that its first one has taken for those behind it. The same from there on.
    pub(super) fn reserve(&self) -> &ChainPermits {
        &self.reserve
    }

    /// What comes after, unless this is the last one.
    pub(super) fn rest(&self) -> Option<Self> {
        // Most ways have one stop, and nothing is copied for them.
        if self.stops.len() < 2 {
            return None;
        }
        let stops = self.stops.iter().skip(1).cloned().collect();
        let (ways, strip) = (self.ways.clone(), self.strip.clone());
        Some(Self { stops, ways, strip, reserve: self.reserve.clone() })
    }

    /// The request as this one sees it.
    pub(super) fn enter<B>(&self, mut request: Request<B>) -> Request<B> {
        if let (Some(prefix), 1) = (&self.strip, self.stops.len()) {
            strip(request.uri_mut(), prefix);
        }
        request
    }
}

fn strip(uri: &mut Uri, prefix: &str) {
    let Some(path) = uri.path_and_query() else { return };
    let path = host_manifest::routes::strip(path.as_str(), prefix).into_owned();
    let mut parts = uri.clone().into_parts();
    if let Ok(path) = PathAndQuery::try_from(path) {
        parts.path_and_query = Some(path);
        if let Ok(stripped) = Uri::from_parts(parts) {
            *uri = stripped;
        }
    }
}
