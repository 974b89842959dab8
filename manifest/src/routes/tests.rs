use http::Method;
use proptest::prelude::*;

use super::{PathPattern, RouteMatch, RoutePattern, RouteTable, strip};

fn table(routes: &[(&str, &str, &[Method])]) -> RouteTable<usize> {
    RouteTable::new(routes.iter().enumerate().map(|(index, (host, path, methods))| {
        let host = (!host.is_empty()).then(|| (*host).to_owned());
        let path = match path.strip_prefix('=') {
            Some(exact) => PathPattern::Exact(exact.to_owned()),
            None => PathPattern::Prefix((*path).to_owned()),
        };
        (RoutePattern { host, path, methods: methods.to_vec() }, index)
    }))
}

#[test]
fn a_prefix_is_a_path_and_what_lies_below() {
    let table = table(&[("", "/shop", &[]), ("", "/shop/new", &[]), ("", "=/shop/x", &[])]);
    let finds = [
        ("/shop", Some(0)),
        ("/shop/", Some(0)),
        ("/shop//new", Some(0)),
        ("/shop/newer", Some(0)),
        ("/shop/new", Some(1)),
        ("/shop/new/x", Some(1)),
        ("/shop/x", Some(2)),
        ("/shop/x/", Some(0)),
        ("/shopping", None),
        ("/Shop", None),
        ("/%73hop", None),
        ("/", None),
        ("", None),
        ("*", None),
    ];
    for (path, index) in finds {
        let expected = index.as_ref().map_or(RouteMatch::Nothing, RouteMatch::Route);
        assert_eq!(table.find("any.example", path, &Method::GET), expected, "{path}");
    }
}

#[test]
fn the_most_exact_host_wins() {
    let table = table(&[
        ("", "/", &[]),
        ("*.example", "/", &[]),
        ("*.b.example", "/", &[]),
        ("a.b.example", "/", &[]),
        ("a.b.example", "/deep", &[Method::PUT]),
    ]);
    let finds = [
        ("other.test", 0),
        ("example", 0),
        (".example", 0),
        ("x.example", 1),
        ("b.example", 1),
        ("x.y.example", 1),
        ("x.b.example", 2),
        ("a.b.example", 3),
        ("A.B.EXAMPLE", 3),
        ("a.b.example.", 3),
        ("[::1]", 0),
        ("", 0),
    ];
    for (host, index) in finds {
        assert_eq!(table.find(host, "/x", &Method::GET), RouteMatch::Route(&index), "{host}");
    }
}

#[test]
fn a_route_that_names_the_method_comes_before_one_for_all() {
    let table = table(&[
        ("", "/a", &[]),
        ("", "/a", &[Method::GET]),
        ("", "/b", &[Method::GET, Method::HEAD]),
        ("", "/b/c", &[Method::PUT, Method::GET]),
        ("", "/a/b", &[Method::PUT]),
    ]);
    assert_eq!(table.find("", "/a", &Method::GET), RouteMatch::Route(&1));
    assert_eq!(table.find("", "/a", &Method::PUT), RouteMatch::Route(&0));
    // None for this method there, but one that is less exact.
    assert_eq!(table.find("", "/a/b", &Method::GET), RouteMatch::Route(&1));
    assert_eq!(table.find("", "/b/c", &Method::HEAD), RouteMatch::Route(&2));
    let methods = vec![Method::PUT, Method::GET, Method::HEAD];
    assert_eq!(table.find("", "/b/c", &Method::POST), RouteMatch::Methods(methods));
}

#[test]
fn stripping_leaves_a_path() {
    let strips = [
        ("/shop/x?y", "/shop", "/x?y"),
        ("/shop", "/shop", "/"),
        ("/shop/", "/shop", "/"),
        ("/shop?y", "/shop", "/?y"),
        ("/shop?", "/shop", "/?"),
        ("/shop//x", "/shop", "//x"),
        ("/shop/shop", "/shop", "/shop"),
        ("/shopping", "/shop", "/shopping"),
        ("/x?/shop", "/shop", "/x?/shop"),
        ("/x", "/", "/x"),
        ("/", "/", "/"),
        ("*", "/", "*"),
    ];
    for (whole, prefix, stripped) in strips {
        assert_eq!(strip(whole, prefix), stripped, "{whole} without {prefix}");
    }
}

#[test]
fn ten_thousand_routes_and_a_long_path_take_few_look_ups() {
    let routes: Vec<String> = (0..10_000).map(|index| format!("/r{index:05}/{index}")).collect();
    let table = RouteTable::new(routes.iter().enumerate().map(|(index, path)| {
        let path = PathPattern::Prefix(path.clone());
        (RoutePattern { host: None, path, methods: Vec::new() }, index)
    }));
    assert_eq!(table.find("", "/r04711/4711/x", &Method::GET), RouteMatch::Route(&4711));
    // The lengths of the numbers: this is all that a search ever looks at.
    let slashes = "/".repeat(1 << 16);
    assert_eq!(table.any.prefixes.starts(&slashes, super::Delimiter('/')).count(), 0);
    assert_eq!(table.any.prefixes.lengths(), [12, 11, 10, 9]);
}

/// The rule as the documentation says it, route by route: the best route, or the methods of those
/// that fit otherwise.
fn naive(
    routes: &[RoutePattern],
    host: &str,
    path: &str,
    method: &Method,
) -> (Option<usize>, Vec<Method>) {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let mut best = None;
    let mut others = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let host_rank = match route.host.as_deref().map(|own| (own, own.strip_prefix('*'))) {
            None => (0, 0),
            Some((own, None)) if own == host => (2, 0),
            Some((_, Some(end))) if host.ends_with(end) && host != end => (1, end.len()),
            Some(_) => continue,
        };
        let path_rank = match &route.path {
            PathPattern::Exact(exact) if exact == path => usize::MAX,
            PathPattern::Prefix(prefix)
                if prefix == "/" || prefix == path || path.starts_with(&format!("{prefix}/")) =>
            {
                prefix.len()
            }
            PathPattern::Exact(_) | PathPattern::Prefix(_) => continue,
        };
        let named = route.methods.contains(method);
        if !named && !route.methods.is_empty() {
            others.extend(route.methods.iter().cloned());
            continue;
        }
        let rank = (host_rank, path_rank, named);
        // Of two alike the first.
        if best.is_none_or(|(before, _)| rank > before) {
            best = Some((rank, index));
        }
    }
    match best {
        Some((_, index)) => (Some(index), Vec::new()),
        None => (None, sorted(others)),
    }
}

fn pattern() -> impl Strategy<Value = RoutePattern> {
    let methods = prop::sample::subsequence(vec![Method::GET, Method::PUT, Method::POST], 0..=2);
    (prop::option::of("(\\*\\.)?[ab](\\.[ab]){0,2}"), path(), any::<bool>(), methods).prop_map(
        |(host, path, exact, methods)| {
            let path = if exact { PathPattern::Exact(path) } else { PathPattern::Prefix(path) };
            RoutePattern { host, path, methods }
        },
    )
}

fn path() -> impl Strategy<Value = String> {
    "/|(/[ab]{1,2}){1,3}|/[ab/]{0,5}"
}

fn sorted(mut methods: Vec<Method>) -> Vec<Method> {
    methods.sort_by_key(ToString::to_string);
    methods.dedup();
    methods
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_table_finds_what_its_rule_says(
        routes in prop::collection::vec(pattern(), 0..12),
        host in "[abAB](\\.[abAB]){0,3}\\.?|\\.a|\\PC{0,8}",
        path in prop_oneof![4 => path(), 1 => "\\PC{0,8}"],
        method in prop::sample::select(vec![Method::GET, Method::PUT, Method::DELETE]),
    ) {
        let table = RouteTable::new(routes.iter().cloned().zip(0..));
        let found = match table.find(&host, &path, &method) {
            RouteMatch::Route(index) => (Some(*index), Vec::new()),
            RouteMatch::Methods(methods) => (None, sorted(methods)),
            RouteMatch::Nothing => (None, Vec::new()),
        };
        prop_assert_eq!(found, naive(&routes, &host, &path, &method));
    }

    #[test]
    fn what_is_stripped_begins_with_a_slash(path in path(), query in "(\\?[a/?]{0,3})?", prefix in path()) {
        let whole = format!("{path}{query}");
        let stripped = strip(&whole, &prefix);
        prop_assert!(stripped.starts_with('/'));
        prop_assert!(whole.ends_with(stripped.trim_start_matches('/')));
    }
}
