//! What a request goes through: the plugins of its route, then the component that is to answer.

use std::collections::VecDeque;
use std::sync::Arc;

use host_manifest::routes::RouteMatch;
use host_manifest::{ComponentConfig, ComponentLimits, CompressConfig, RouteHeaders};
use host_telemetry::RouteLabel;
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};

use super::failure::Failure;
use super::validate::other_readings;
use crate::component::{NetworkEnd, RouteConfig};
use crate::site::{App, ChainPermits, RouteRateLimit, RouteTarget, RoutesEdition, Site};

/// The components that a request goes through: plugins, then the one that is to answer.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    first: Stage,
    /// Most pipelines have one stage, and nothing is allocated for them.
    behind: VecDeque<Stage>,
    /// None for what goes out.
    route: Option<&'static RouteLabel>,
    routes: RoutesEdition,
    /// What the last one does not see of the path.
    strip: Option<Arc<str>>,
    compress: Option<CompressConfig>,
    /// What is done with headers. None behind the first stage: that is done at the client's side.
    headers: Option<Arc<RouteHeaders>>,
    /// None where there is one stage only.
    permits: Option<ChainPermits>,
    /// Where the last one passes on to, if it is a plugin for egress.
    network: Option<NetworkEnd>,
}

/// What comes after a plugin.
#[derive(Clone, Debug)]
pub(super) enum Behind {
    /// More components.
    Pipeline(Pipeline),
    /// The network.
    Network(NetworkEnd),
}

impl Behind {
    /// How many stages there are.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Pipeline(pipeline) => pipeline.length(),
            Self::Network(_) => 1,
        }
    }

    /// As [`Pipeline::let_go`].
    pub(super) fn let_go(&mut self) {
        if let Self::Pipeline(pipeline) = self {
            pipeline.let_go();
        }
    }
}

/// One of them.
#[derive(Clone, Debug)]
struct Stage {
    component: StageComponent,
    /// What it is configured with on this route, in place of what it is everywhere.
    config: Option<RouteConfig>,
}

#[derive(Clone, Debug)]
enum StageComponent {
    /// As it was when the request was routed: one that is removed meanwhile serves it yet.
    Routed(Arc<App>),
    /// The request is there, or none waits on it any more: only an exchange on it may hold a generation.
    Released(Arc<ComponentConfig>),
}

/// Why no component is to serve a request.
pub(super) enum Unrouted {
    Failed(Failure),
    /// There are routes for these methods only.
    Methods(Vec<Method>),
}

impl Pipeline {
    /// That of the route which a request takes, and how many requests that takes.
    pub(super) fn find<'a, B>(
        site: &'a Site,
        request: &Request<B>,
    ) -> Result<(Self, Option<&'a RouteRateLimit>), Unrouted> {
        let (uri, method) = (request.uri(), request.method());
        let host = uri.host().unwrap_or_default();
        let found = site.route(host, uri.path(), method);
        let elsewhere = |read: &String| !is_same(&found, &site.route(host, read, method));
        if other_readings(uri.path()).iter().any(elsewhere) {
            return Err(Unrouted::Failed(Failure::Malformed("path can be read in two ways\n")));
        }
        match found {
            RouteMatch::Route(target) => {
                let pipeline = Self::new(site, target).ok_or(Unrouted::Failed(Failure::NoRoute))?;
                Ok((pipeline, target.rate_limit.as_deref()))
            }
            RouteMatch::Methods(allowed) => Err(Unrouted::Methods(allowed)),
            RouteMatch::Nothing => Err(Unrouted::Failed(Failure::NoRoute)),
        }
    }

    /// None where the site lacks one of them, which a checked manifest does not.
    fn new(site: &Site, target: &RouteTarget) -> Option<Self> {
        let stage = |(name, config): (&Arc<str>, Option<RouteConfig>)| {
            let component = StageComponent::Routed(site.app(name)?.clone());
            Some(Stage { component, config })
        };
        let plugins = target.chain.iter().map(|(name, config)| (name, config.clone()));
        let mut stages = plugins.chain([(&target.component, None)]).map(stage);
        let first = stages.next()??;
        let behind: VecDeque<_> = stages.collect::<Option<_>>()?;
        let (routes, strip) = (site.edition(), target.strip.clone());
        let permits = (!behind.is_empty()).then(ChainPermits::default);
        let (route, compress) = (Some(target.label), target.compress);
        let headers = target.headers.clone();
        let network = None;
        Some(Self { first, behind, route, routes, strip, compress, headers, permits, network })
    }

    /// That of an outgoing request: the plugin of this name, and then the network. None where the site lacks it.
    pub(super) fn egress(site: &Site, plugin: &str, network: NetworkEnd) -> Option<Self> {
        let component = StageComponent::Routed(site.app(plugin)?.clone());
        Some(Self {
            first: Stage { component, config: None },
            behind: VecDeque::new(),
            route: None,
            routes: site.edition(),
            strip: None,
            compress: None,
            headers: None,
            permits: None,
            network: Some(network),
        })
    }

    /// What logs and metrics call its route.
    pub(super) fn route(&self) -> Option<&'static RouteLabel> {
        self.route
    }

    /// How the responses of its route are compressed, if they are.
    pub(super) fn compress(&self) -> Option<CompressConfig> {
        self.compress
    }

    /// What is done with headers of the request and of its response, if anything is.
    pub(super) fn headers(&self) -> Option<&Arc<RouteHeaders>> {
        self.headers.as_ref()
    }

    /// Whose turn it is, as the manifest had it when the request was routed.
    pub(super) fn first(&self) -> &ComponentConfig {
        self.first.config()
    }

    /// Whose turn it is, in the site that is served now.
    pub(super) fn latest<'a>(&'a self, site: &'a Site) -> Option<&'a Arc<App>> {
        match &self.first.component {
            StageComponent::Routed(app) => Some(site.latest(app, self.routes)),
            StageComponent::Released(config) => site.app(&config.name),
        }
    }

    /// What the first one is configured with on this route, if not as everywhere.
    pub(super) fn route_config(&self) -> Option<&RouteConfig> {
        self.first.config.as_ref()
    }

    /// No request waits on it any more: the components are looked up anew for the next one.
    pub(super) fn let_go(&mut self) {
        self.first.release();
        self.behind.iter_mut().for_each(Stage::release);
    }

    /// The first stage has the request.
    pub(super) fn arrive(&mut self) {
        self.first.release();
    }

    /// How many stages there are from here on.
    pub(super) fn length(&self) -> usize {
        1 + self.behind.len()
    }

    /// The limits of each stage from here on.
    pub(super) fn limits(&self) -> impl Iterator<Item = &ComponentLimits> {
        let stages = [&self.first].into_iter().chain(&self.behind);
        stages.map(|stage| &stage.config().limits)
    }

    /// The instances that its first one has taken for those behind it. The same from there on. None where there
    /// never was one behind it.
    pub(super) fn permits(&self) -> Option<&ChainPermits> {
        self.permits.as_ref()
    }

    /// What comes after, unless this is the last one.
    pub(super) fn rest(&self) -> Option<Behind> {
        let mut behind = self.behind.iter().cloned();
        let Some(first) = behind.next() else {
            return self.network.clone().map(Behind::Network);
        };
        let rest = Self {
            first,
            behind: behind.collect(),
            route: self.route,
            routes: self.routes,
            strip: self.strip.clone(),
            compress: self.compress,
            headers: None,
            permits: self.permits.clone(),
            network: self.network.clone(),
        };
        Some(Behind::Pipeline(rest))
    }

    /// The request as the first stage sees it: the last one of a route that strips its prefix sees none.
    pub(super) fn stripped<B>(&self, mut request: Request<B>) -> Request<B> {
        if let Some(prefix) = &self.strip
            && self.behind.is_empty()
        {
            strip(request.uri_mut(), prefix);
        }
        request
    }
}

impl Stage {
    fn config(&self) -> &Arc<ComponentConfig> {
        match &self.component {
            StageComponent::Routed(app) => &app.manifest,
            StageComponent::Released(config) => config,
        }
    }

    fn release(&mut self) {
        if let StageComponent::Routed(app) = &self.component {
            self.component = StageComponent::Released(app.manifest.clone());
        }
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
