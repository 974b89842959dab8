//! What a request goes through: the plugins of its route, then the component that is to answer.

use std::collections::VecDeque;
use std::sync::Arc;

use host_manifest::routes::RouteMatch;
use host_manifest::{ComponentConfig, ComponentLimits, Route};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};

use super::failure::Failure;
use super::validate::other_readings;
use crate::site::{App, ChainPermits, RouteTarget, Site};

/// The components that a request goes through: plugins, then the one that is to answer.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    stages: VecDeque<Stage>,
    routes: Arc<[Route]>,
    /// What the last one does not see of the path.
    strip: Option<Arc<str>>,
    permits: ChainPermits,
}

/// One of them.
#[derive(Clone, Debug)]
struct Stage {
    config: Arc<ComponentConfig>,
    /// As it was when the request was routed: one that is removed meanwhile serves it yet. None once
    /// the request is there: only its exchange may hold a generation.
    app: Option<Arc<App>>,
}

/// Why no component is to serve a request.
pub(super) enum Unrouted {
    Failed(Failure),
    /// There are routes for these methods only.
    Methods(Vec<Method>),
}

impl Pipeline {
    /// That of the route which a request takes.
    pub(super) fn find<B>(site: &Site, request: &Request<B>) -> Result<Self, Unrouted> {
        let (uri, method) = (request.uri(), request.method());
        let host = uri.host().unwrap_or_default();
        let found = site.route(host, uri.path(), method);
        let elsewhere = |read: &String| !is_same(&found, &site.route(host, read, method));
        if other_readings(uri.path()).iter().any(elsewhere) {
            return Err(Unrouted::Failed(Failure::Malformed("path can be read in two ways\n")));
        }
        match found {
            RouteMatch::Route(target) => {
                Self::new(site, target).ok_or(Unrouted::Failed(Failure::NoRoute))
            }
            RouteMatch::Methods(allowed) => Err(Unrouted::Methods(allowed)),
            RouteMatch::Nothing => Err(Unrouted::Failed(Failure::NoRoute)),
        }
    }

    /// None where the site lacks one of them, which a checked manifest does not.
    fn new(site: &Site, target: &RouteTarget) -> Option<Self> {
        let names = target.chain.iter().chain([&target.component]);
        let stage = |name: &Arc<str>| {
            let app = site.app(name)?;
            Some(Stage { config: app.manifest.clone(), app: Some(app.clone()) })
        };
        let stages: Option<VecDeque<_>> = names.map(stage).collect();
        let (routes, strip) = (site.routes().clone(), target.strip.clone());
        let stages = stages.filter(|stages| !stages.is_empty())?;
        Some(Self { stages, routes, strip, permits: ChainPermits::default() })
    }

    /// Whose turn it is, as the manifest had it when the request was routed.
    pub(super) fn first(&self) -> Option<&ComponentConfig> {
        self.stages.front().map(|stage| &*stage.config)
    }

    /// Whose turn it is, in the site that is served now.
    pub(super) fn latest<'a>(&'a self, site: &'a Site) -> Option<&'a Arc<App>> {
        let stage = self.stages.front()?;
        match &stage.app {
            Some(app) => Some(site.latest(app, &self.routes)),
            None => site.app(&stage.config.name),
        }
    }

    /// No request waits on it any more: the components are looked up anew for the next one.
    pub(super) fn let_go(&mut self) {
        self.stages.iter_mut().for_each(|stage| stage.app = None);
    }

    /// The first stage has the request.
    pub(super) fn arrive(&mut self) {
        if let Some(stage) = self.stages.front_mut() {
            stage.app = None;
        }
    }

    /// The limits of each stage from here on.
    pub(super) fn limits(&self) -> impl Iterator<Item = &ComponentLimits> {
        self.stages.iter().map(|stage| &stage.config.limits)
    }

    /// The instances that its first one has taken for those behind it. The same from there on.
    pub(super) fn permits(&self) -> &ChainPermits {
        &self.permits
    }

    /// What comes after, unless this is the last one.
    pub(super) fn rest(&self) -> Option<Self> {
        // Most pipelines have one stage, and nothing is copied for them.
        if self.stages.len() < 2 {
            return None;
        }
        let stages = self.stages.iter().skip(1).cloned().collect();
        let (routes, strip) = (self.routes.clone(), self.strip.clone());
        Some(Self { stages, routes, strip, permits: self.permits.clone() })
    }

    /// The request as the first stage sees it: the last one of a route that strips its prefix sees none.
    pub(super) fn stripped<B>(&self, mut request: Request<B>) -> Request<B> {
        if let (Some(prefix), 1) = (&self.strip, self.stages.len()) {
            strip(request.uri_mut(), prefix);
        }
        request
    }
}

/// Whether both lead to the same route, or neither to any.
fn is_same(one: &RouteMatch<'_, RouteTarget>, other: &RouteMatch<'_, RouteTarget>) -> bool {
    match (one, other) {
        (RouteMatch::Route(one), RouteMatch::Route(other)) => std::ptr::eq(*one, *other),
        (RouteMatch::Route(_), _) | (_, RouteMatch::Route(_)) => false,
        _ => true,
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
