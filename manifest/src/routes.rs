//! Which request goes where.

use http::Method;

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

/// Routes, made ready to be searched. The best one is that with the most exact host (a name, then
/// the longest wildcard, then any), then the most exact path (exact, then the longest prefix), then
/// one that names the method before one for all.
#[derive(Clone, Debug)]
pub struct Table<T> {
    routes: Vec<(Pattern, T)>,
}

impl<T> Table<T> {
    /// A table of these routes, no two alike.
    pub fn new(routes: impl IntoIterator<Item = (Pattern, T)>) -> Self {
        Self { routes: routes.into_iter().collect() }
    }

    /// The route for a request: its host without port, in any case; its path without query.
    pub fn find(&self, _host: &str, _path: &str, _method: &Method) -> Found<'_, T> {
        self.routes.first().map_or(Found::Nothing, |(_, target)| Found::Route(target))
    }
}

/// A path with query, without `prefix` in front.
pub fn strip(path: &str, prefix: &str) -> String {
    let rest = path.strip_prefix(prefix.trim_end_matches('/')).unwrap_or(path);
    if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") }
}
