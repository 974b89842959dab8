//! Routes: which requests go to which component.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use http::Method;

use super::headers::headers;
use super::rate_limit::rate_limit;
use super::raw_route::{self, Plugin};
use super::reader::Reader;
use super::spanned::Spanned;
use super::text_or::TextOr;
use crate::abilities::read_config;
use crate::error::Problem;
use crate::outgoing::UriHost;
use crate::routes::{PathPattern, RoutePattern, normalized};
use crate::{ChainEntry, ComponentConfig, CompressConfig, Route, RouteConfigs, WasiConfigValues};

type Components = BTreeMap<Arc<str>, ComponentConfig>;

/// Reads the `[[route]]` tables. `instances` is the total of all components at once.
pub(super) fn routes(
    reader: &mut Reader<'_>,
    raw: &[Spanned<raw_route::Route>],
    components: &Components,
    instances: usize,
) -> Vec<Route> {
    let routes: Vec<(Route, Range<usize>)> = raw
        .iter()
        .filter_map(|raw| {
            refuse_too_long(reader, &raw.value.chain, instances);
            route(reader, raw, components).map(|route| (route, raw.span.clone()))
        })
        .collect();
    refuse_alike(reader, &routes);
    if raw.is_empty() {
        return implied(reader, components);
    }
    routes.into_iter().map(|(route, _)| route).collect()
}

/// Tells components with which configurations routes use them. Each is tried before it serves.
pub(super) fn tell_components(components: &mut Components, routes: &[Route]) {
    for component in components.values_mut() {
        component.route_configs = RouteConfigs { own: Vec::new(), only_own: true };
    }
    for route in routes {
        if let Some(component) = components.get_mut(&route.component) {
            component.route_configs.only_own = false;
        }
        for entry in &route.chain {
            let Some(component) = components.get_mut(&entry.plugin) else { continue };
            let configs = &mut component.route_configs;
            match &entry.config {
                None => configs.only_own = false,
                Some(config) if configs.own.contains(config) => {}
                Some(config) => configs.own.push(config.clone()),
            }
        }
    }
    for RouteConfigs { own, only_own } in
        components.values_mut().map(|component| &mut component.route_configs)
    {
        *only_own &= !own.is_empty();
    }
}

/// Without routes a single component gets all requests.
fn implied(reader: &mut Reader<'_>, components: &Components) -> Vec<Route> {
    let mut names = components.keys();
    match (names.next(), names.next()) {
        (None, _) => Vec::new(),
        (Some(only), None) => vec![Route {
            pattern: RoutePattern {
                host: None,
                path: PathPattern::Prefix("/".into()),
                methods: Vec::new(),
            },
            chain: Vec::new(),
            component: Arc::clone(only),
            strip_prefix: false,
            rate_limit: None,
            compress: None,
            headers: None,
        }],
        (Some(first), Some(_)) => {
            if reader.is_whole() {
                reader.report(
                    Problem::nowhere("the manifest has several components, but no route").help(
                        format!("add [[route]] with path = \"/\" and component = \"{first}\""),
                    ),
                );
            }
            Vec::new()
        }
    }
}

fn route(
    reader: &mut Reader<'_>,
    raw: &Spanned<raw_route::Route>,
    components: &Components,
) -> Option<Route> {
    let span = &raw.span;
    let route = &raw.value;
    let host = route.host.as_ref().map(|written| host(reader, written));
    let path = path(reader, route, span);
    let methods = methods(reader, route);
    let target = route.component.as_ref();
    let component = target.and_then(|target| known(reader, target, components));
    let chain = chain(reader, &route.chain, component.as_ref(), components);
    if let (true, Some(exact)) = (route.strip_prefix, &route.exact) {
        reader.report(
            Problem::new(exact.span.clone(), "strip-prefix takes path; exact is no prefix")
                .help("write path in place of exact, or leave strip-prefix out"),
        );
    }
    let headers = headers(reader, &route.headers);
    let host = match host {
        Some(host) => Some(host?),
        None => None,
    };
    let rate_limit = match &route.rate_limit {
        Some(raw) => Some(rate_limit(reader, raw)?),
        None => None,
    };
    let pattern = RoutePattern { host, path: path?, methods };
    let (compress, strip_prefix) = (compress(reader, route), route.strip_prefix);
    Some(Route {
        pattern,
        chain,
        component: component?,
        strip_prefix,
        compress,
        rate_limit,
        headers,
    })
}

fn compress(reader: &mut Reader<'_>, raw: &raw_route::Route) -> Option<CompressConfig> {
    let credentials = raw.compress_credentials.as_ref();
    if let (false, Some(alone)) = (raw.compress, credentials) {
        let problem = Problem::new(alone.span.clone(), "nothing is compressed on this route");
        reader.report(problem.help("write compress = true beside it, or leave it out"));
    }
    raw.compress
        .then(|| CompressConfig { with_credentials: credentials.is_some_and(|it| it.value) })
}

fn host(reader: &mut Reader<'_>, written: &Spanned<String>) -> Option<String> {
    let text = reader.text(written)?;
    let (wildcard, name) = match text.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", text.as_str()),
    };
    match UriHost::parse(name) {
        Some(host @ UriHost::Name(_)) => Some(format!("{wildcard}{host}")),
        Some(host @ UriHost::Address(_)) if wildcard.is_empty() => Some(host.to_string()),
        Some(UriHost::Address(_)) | None => {
            let help = if name.contains("://") {
                "write it without http:// and without a path: shop.example"
            } else if name.contains(':') && !name.starts_with('[') {
                "write it without a port: routes are for every port that is listened at"
            } else {
                "write shop.example, or *.example for all names that end so; leave host out for all"
            };
            let problem = Problem::new(written.span.clone(), "this is no host");
            reader.report(problem.help(help));
            None
        }
    }
}

fn path(
    reader: &mut Reader<'_>,
    raw: &raw_route::Route,
    span: &Range<usize>,
) -> Option<PathPattern> {
    match (&raw.path, &raw.exact) {
        (Some(path), None) => {
            let text = path_text(reader, path)?;
            if text != "/" && text.ends_with('/') {
                reader.report(Problem::new(path.span.clone(), "there is a slash at its end").help(
                    format!(
                        "write {}: that is for the path itself and all below it",
                        path.value.trim_end_matches('/')
                    ),
                ));
                return None;
            }
            Some(PathPattern::Prefix(text))
        }
        (None, Some(exact)) => path_text(reader, exact).map(PathPattern::Exact),
        (Some(path), Some(exact)) => {
            reader.report(
                Problem::new(exact.span.clone(), "a route has path or exact, not both")
                    .also(path.span.clone(), "beside this")
                    .help("leave one of them out"),
            );
            None
        }
        (None, None) => {
            if !reader.is_damaged(span) {
                reader.report(
                    Problem::new(span.clone(), "this route has no path")
                        .help("add path = \"/\" for everything, or exact = \"/one\" for one path"),
                );
            }
            None
        }
    }
}

fn path_text(reader: &mut Reader<'_>, written: &Spanned<String>) -> Option<String> {
    let text = reader.text(written)?;
    let mut wrong = |message: &str, help: &str| {
        reader.report(Problem::new(written.span.clone(), message).help(help));
        None
    };
    if !text.starts_with('/') {
        return wrong("a path begins with /", "write /shop, or / for everything");
    }
    if text.contains(['?', '#']) {
        return wrong("there is a query in it", "write the path only, without ? and #");
    }
    if text.contains('*') {
        return wrong(
            "`*` means nothing in a path",
            "write /shop: it is for all paths below it too",
        );
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong(
            "there is something in it that no request has in its path",
            "write it as it stands in requests: é as %C3%A9, a space as %20",
        );
    }
    let plain = normalized(&text);
    if plain != text {
        return wrong(
            "a path like this can be read in two ways, so no request for it is let in",
            &format!("write {plain}"),
        );
    }
    Some(text)
}

fn methods(reader: &mut Reader<'_>, raw: &raw_route::Route) -> Vec<Method> {
    let Some(written) = &raw.methods else { return Vec::new() };
    if written.value.is_empty() {
        let problem = Problem::new(written.span.clone(), "this route is for no method");
        reader.report(problem.help("name some, or leave methods out for all of them"));
    }
    let mut methods = Vec::new();
    for verb in reader.parse_all(&written.value) {
        if !methods.contains(&verb.0) {
            methods.push(verb.0);
        }
    }
    methods
}

/// The name of a component, if it exists.
pub(super) fn known(
    reader: &mut Reader<'_>,
    written: &Spanned<String>,
    components: &Components,
) -> Option<Arc<str>> {
    let text = reader.text(written)?;
    let found = components.get_key_value(text.as_str()).map(|(name, _)| Arc::clone(name));
    if found.is_none() && reader.is_whole() {
        reader.report_unknown(written, "component", components.keys().map(|name| &**name));
    }
    found
}

fn chain(
    reader: &mut Reader<'_>,
    raw: &[TextOr<Plugin>],
    component: Option<&Arc<str>>,
    components: &Components,
) -> Vec<ChainEntry> {
    let mut chain: Vec<ChainEntry> = Vec::new();
    for entry in raw {
        let (written, config) = match entry {
            TextOr::Text(name) => (Some(name), None),
            TextOr::Table(table) => (table.value.plugin.as_ref(), Some(&table.value.config)),
        };
        // The validation has reported that it is missing.
        let Some(written) = written else { continue };
        let own = config.map(|config| read_config(reader, config)).filter(|own| !own.0.is_empty());
        let Some(plugin) = known(reader, written, components) else { continue };
        if Some(&plugin) == component {
            reader.report(
                Problem::new(
                    written.span.clone(),
                    format!("`{}` stands before itself", written.value),
                )
                .help("leave it out of chain: it is the component of this route"),
            );
        }
        if chain.iter().any(|entry| entry.plugin == plugin) {
            reader.report(
                Problem::new(
                    written.span.clone(),
                    format!("`{}` is in this chain twice", written.value),
                )
                .help("leave one of them out"),
            );
        }
        let base = components.get(&plugin).and_then(|component| component.grants.get());
        let config = own.map(|own| match base {
            Some(base) => WasiConfigValues::overlaid(base, &own),
            None => own,
        });
        chain.push(ChainEntry { plugin, config: config.map(Arc::new) });
    }
    chain
}

/// Refuses chains that are too long: each component in the chain of a request holds an instance until the
/// response.
fn refuse_too_long(reader: &mut Reader<'_>, chain: &[TextOr<Plugin>], instances: usize) {
    let needed = chain.len() + 1;
    let Some(last) = chain.last().filter(|_| instances > 0 && needed > instances) else { return };
    reader.report(
        Problem::new(last.span(), "this chain is too long to be served")
            .label("the last one of it")
            .help(format!(
                "a request takes {needed} instances at once, and total.instances is {instances}: \
                 shorten the chain, or raise that"
            )),
    );
}

/// Refuses two routes for the same requests, because one of them would never get any.
fn refuse_alike(reader: &mut Reader<'_>, routes: &[(Route, Range<usize>)]) {
    let mut seen: HashMap<(Option<&str>, &PathPattern), Vec<usize>> = HashMap::new();
    for (index, (route, span)) in routes.iter().enumerate() {
        let RoutePattern { host, path, methods } = &route.pattern;
        let like = seen.entry((host.as_deref(), path)).or_default();
        let before = like.iter().filter_map(|&index| routes.get(index));
        if let Some((_, first)) =
            before.into_iter().find(|(before, _)| overlap(&before.pattern.methods, methods))
        {
            reader.report(
                Problem::new(span.clone(), "two routes are for the same requests")
                    .label("the second one")
                    .also(first.clone(), "the first one")
                    .help("leave one out, or tell them apart by host, path or methods"),
            );
        }
        like.push(index);
    }
}

fn overlap(one: &[Method], other: &[Method]) -> bool {
    (one.is_empty() && other.is_empty()) || one.iter().any(|method| other.contains(method))
}
