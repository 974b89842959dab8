//! Which request goes where.

mod level;
mod spelling;
mod strip;

use std::borrow::Cow;
use std::collections::HashMap;

use http::Method;

use level::{Levels, Stop};
pub use spelling::{decoded, plain_spelling, resolved};
pub use strip::strip;

/// Requests that a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// `shop.example`, `*.example`, or any.
    pub host: Option<String>,
    /// Which paths.
    pub path: Path,
    /// Which methods; all if empty.
    pub methods: Vec<Method>,
}

/// Paths that a route is for. Compared byte by byte, as they stand in the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// `/shop` itself and what lies below it, `/shop/x`, but not `/shopping`. `/` is everything.
    Prefix(String),
    /// This path only.
    Exact(String),
}

/// What a table says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a, T> {
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
pub struct Table<T> {
    targets: Vec<T>,
    names: HashMap<Box<str>, Paths>,
    /// By what stands after `*`: `.example`.
    wildcards: Levels<Paths>,
    any: Paths,
}

/// The routes of one host.
#[derive(Clone, Debug, Default)]
struct Paths {
    exact: HashMap<Box<str>, Methods>,
    prefixes: Levels<Methods>,
    everything: Methods,
}

/// The routes of one path: an index into the targets for each method.
#[derive(Clone, Debug, Default)]
struct Methods {
    named: Vec<(Method, usize)>,
    all: Option<usize>,
}

impl<T> Table<T> {
    /// A table of these routes. Of two alike the first one is found.
    pub fn new(routes: impl IntoIterator<Item = (Pattern, T)>) -> Self {
        let mut table = Self {
            targets: Vec::new(),
            names: HashMap::new(),
            wildcards: Levels::default(),
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
        let host = plain(host);
        match host.strip_prefix('*') {
            Some(end) => self.wildcards.at(end),
            None => self.names.entry(host.as_ref().into()).or_default(),
        }
    }

    /// The route for a request: its host without port, in any case; its path without query.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Found<'_, T> {
        let host = plain(host);
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
            Some(target) => Found::Route(target),
            None if others.is_empty() => Found::Nothing,
            None => Found::Methods(distinct(&others)),
        }
    }
}

impl Paths {
    fn path(&mut self, path: Path) -> &mut Methods {
        match path {
            Path::Exact(path) => self.exact.entry(path.into()).or_default(),
            Path::Prefix(prefix) if prefix == "/" => &mut self.everything,
            Path::Prefix(prefix) => self.prefixes.at(&prefix),
        }
    }

    /// The routes whose path fits, the best first.
    fn search<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Methods> {
        self.exact
            .get(path)
            .into_iter()
            .chain(self.prefixes.starts(path, Stop('/')))
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
fn plain(host: &str) -> Cow<'_, str> {
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
