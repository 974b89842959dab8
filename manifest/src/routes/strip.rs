//! The path that a component sees.

use std::borrow::Cow;

/// `path_and_query` without `prefix`, for a route with `strip-prefix`: of `/shop/x?y` without `/shop`
/// it is `/x?y`, of `/shop` it is `/`, of `/shop?y` it is `/?y`. What does not lie below the prefix
/// stays as it is, and so does everything below `/`.
///
/// What is left is as it stands in the request, so it can begin with two slashes: `//x` of
/// `/shop//x`. A caller that makes a URI of it must not take that for an authority.
#[must_use]
pub fn strip<'a>(path_and_query: &'a str, prefix: &str) -> Cow<'a, str> {
    if prefix == "/" {
        return path_and_query.into();
    }
    match path_and_query.strip_prefix(prefix) {
        Some("") => "/".into(),
        Some(rest) if rest.starts_with('/') => rest.into(),
        Some(query) if query.starts_with('?') => format!("/{query}").into(),
        Some(_) | None => path_and_query.into(),
    }
}
