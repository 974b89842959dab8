//! Which request goes where.

mod affix_map;
mod normalize;
mod strip;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use http::Method;

use affix_map::{AffixMap, Delimiter};
pub use normalize::{normalized, percent_decoded, remove_dot_segments};
pub use strip::strip;

/// Requests that a route is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoutePattern {
    /// `shop.example`, `*.example`, or any.
    pub host: Option<String>,
    /// Which paths.
    pub path: PathPattern,
    /// Which methods; all if empty.
    pub methods: Vec<Method>,
}

/// `shop.example/cart/*`: host, if it is for one, and path; `/*` behind a prefix. Without the methods.
impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.host.as_deref().unwrap_or_default())?;
        match &self.path {
            PathPattern::Prefix(prefix) => write!(f, "{}/*", prefix.trim_end_matches('/')),
            PathPattern::Exact(path) => f.write_str(path),
        }
    }
}

/// Paths that a route is for. Compared byte by byte, as they stand in the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// `/shop` itself and what lies below it, `/shop/x`, but not `/shopping`. `/` is everything.
    Prefix(String),
    /// This path only.
    Exact(String),
}

/// What a table says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteMatch<'a, T> {
    /// The route that fits best.
    Route(&'a T),
    /// Routes fit, but none for this method: these have one.
    Methods(Vec<Method>),
    /// None.
    Nothing,
}

/// Routes, made ready to be searched. Of those that fit host, path and method the best one is that
/// with the most exact host (a name, then the longest wildcard, then any), then the most exact path
/// (exact, then the longest prefix), then one that names the method before one for all.
///
/// A search takes a look-up for each length of host and path that routes have and the request can
/// have, however many routes there are and however long the path is.
#[derive(Clone, Debug)]
pub struct RouteTable<T> {
    targets: Vec<T>,
    names: HashMap<Box<str>, Paths>,
    /// By what stands after `*`: `.example`.
    wildcards: AffixMap<Paths>,
    any: Paths,
}

/// The routes of one host.
#[derive(Clone, Debug, Default)]
struct Paths {
    exact: HashMap<Box<str>, Methods>,
    prefixes: AffixMap<Methods>,
    everything: Methods,
}

/// The routes of one path: an index into the targets for each method.
#[derive(Clone, Debug, Default)]
struct Methods {
    named: Vec<(Method, usize)>,
    all: Option<usize>,
}

impl<T> RouteTable<T> {
    /// A table of these routes. Of two alike the first one is found.
    pub fn new(routes: impl IntoIterator<Item = (RoutePattern, T)>) -> Self {
        let mut table = Self {
            targets: Vec::new(),
            names: HashMap::new(),
            wildcards: AffixMap::default(),
            any: Paths::default(),
        };
        for (pattern, target) in routes {
            let index = table.targets.len();
            table.targets.push(target);
            table.host(pattern.host.as_deref()).path(pattern.path).add(pattern.methods, index);
        }
        table
    }

    fn host(&mut self, host: Option<&str>) -> &mut Paths {
        let Some(host) = host else { return &mut self.any };
        let host = plain_host(host);
        match host.strip_prefix('*') {
            Some(end) => self.wildcards.at(end),
            None => self.names.entry(host.as_ref().into()).or_default(),
        }
    }

    /// The route for a request: its host without port, in any case; its path without query.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> RouteMatch<'_, T> {
        let host = plain_host(host);
        let mut others = Vec::new();
        let found = self
            .names
            .get(host.as_ref())
            .into_iter()
            .chain(self.wildcards.ends(&host))
            .chain([&self.any])
            .flat_map(|paths| paths.search(path))
            .find_map(|methods| methods.find(method, &mut others));
        match found.and_then(|index| self.targets.get(index)) {
            Some(target) => RouteMatch::Route(target),
            None if others.is_empty() => RouteMatch::Nothing,
            None => RouteMatch::Methods(distinct(&others)),
        }
    }
}

impl Paths {
    fn path(&mut self, path: PathPattern) -> &mut Methods {
        match path {
            PathPattern::Exact(path) => self.exact.entry(path.into()).or_default(),
            PathPattern::Prefix(prefix) if prefix == "/" => &mut self.everything,
            PathPattern::Prefix(prefix) => self.prefixes.at(&prefix),
        }
    }

    /// The routes whose path fits, the best first.
    fn search<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Methods> {
        self.exact
            .get(path)
            .into_iter()
            .chain(self.prefixes.starts(path, Delimiter('/')))
            .chain([&self.everything])
    }
}

impl Methods {
    fn add(&mut self, methods: Vec<Method>, index: usize) {
        if methods.is_empty() {
            self.all.get_or_insert(index);
        }
        for method in methods {
            if !self.named.iter().any(|(known, _)| *known == method) {
                self.named.push((method, index));
            }
        }
    }

    /// The route for `method`; otherwise those that it has go to `others`.
    fn find<'a>(&'a self, method: &Method, others: &mut Vec<&'a Method>) -> Option<usize> {
        let named = self.named.iter().find(|(known, _)| known == method).map(|(_, index)| *index);
        let found = named.or(self.all);
        if found.is_none() {
            others.extend(self.named.iter().map(|(method, _)| method));
        }
        found
    }
}

/// One spelling for each host: small letters, no dot at the end.
#[must_use]
pub fn plain_host(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return host.to_ascii_lowercase().into();
    }
    host.into()
}

fn distinct(methods: &[&Method]) -> Vec<Method> {
    let mut out: Vec<Method> = Vec::new();
    for method in methods {
        if !out.contains(method) {
            out.push((*method).clone());
        }
    }
    out
}

#[cfg(test)]
mod tests;
