//! The table finds what going through all routes finds, and stripping leaves a path.
#![no_main]

use host_manifest::routes::{PathPattern, RouteMatch, RoutePattern, RouteTable, strip};
use http::Method;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    routes: Vec<Written>,
    host: Text,
    path: Text,
    method: u8,
}

#[derive(Arbitrary, Debug)]
struct Written {
    host: Option<Text>,
    exact: bool,
    path: Text,
    methods: Vec<u8>,
}

/// Out of few pieces, so that routes and requests are often alike; or anything.
#[derive(Arbitrary, Debug)]
enum Text {
    Pieces(Vec<u8>),
    Noise(String),
}

impl Text {
    fn text(&self, pieces: [&str; 8]) -> String {
        match self {
            Self::Pieces(bytes) => bytes.iter().map(|byte| pieces[usize::from(byte % 8)]).collect(),
            Self::Noise(text) => text.clone(),
        }
    }

    fn path(&self) -> String {
        let path = self.text(["/a", "/b", "/", "c", "/a/b", "%2F", "/..", "/A"]);
        if path.starts_with('/') { path } else { format!("/{path}") }
    }

    fn host(&self) -> String {
        self.text(["a", "b", ".", ".a", ".b", "*.", "A", ".test"])
    }
}

fuzz_target!(|input: Input| {
    let (asked, path) = (input.host.host(), input.path.path());
    let routes: Vec<RoutePattern> = input.routes.iter().map(pattern).collect();
    let method = method(input.method);
    let host = asked.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let fits = |route: &&RoutePattern| {
        let host_fits = route.host.as_deref().is_none_or(|own| match own.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => host == own,
        });
        let path_fits = match &route.path {
            PathPattern::Exact(own) => *own == path,
            PathPattern::Prefix(prefix) => {
                let rest = path.strip_prefix(prefix.as_str());
                prefix == "/" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        };
        host_fits && path_fits
    };
    let rank = |route: &RoutePattern| {
        let host = match route.host.as_deref() {
            None => (0, 0),
            Some(name) if name.starts_with('*') => (1, name.len()),
            Some(_) => (2, 0),
        };
        let path = match &route.path {
            PathPattern::Exact(_) => (1, 0),
            // Everything, with or without its slash.
            PathPattern::Prefix(prefix) if prefix == "/" => (0, 0),
            PathPattern::Prefix(prefix) => (0, 1 + prefix.len()),
        };
        (host, path, route.methods.contains(&method))
    };
    let fitting: Vec<&RoutePattern> = routes.iter().filter(fits).collect();
    let takes =
        |route: &&&RoutePattern| route.methods.is_empty() || route.methods.contains(&method);
    let best = fitting.iter().filter(takes).map(|route| rank(route)).max();
    let table = RouteTable::new(routes.iter().map(|route| (route.clone(), route)));
    match table.find(&asked, &path, &method) {
        RouteMatch::Route(route) => {
            assert!(fits(route));
            assert_eq!(Some(rank(route)), best);
        }
        RouteMatch::Methods(methods) => {
            assert!(best.is_none() && !methods.is_empty() && !methods.contains(&method));
        }
        RouteMatch::Nothing => assert!(fitting.is_empty()),
    }
    if let Some(prefix) = input.routes.first().map(|route| route.path.path()) {
        assert!(strip(&path, &prefix).starts_with('/'));
    }
});

fn pattern(written: &Written) -> RoutePattern {
    let path = written.path.path();
    RoutePattern {
        // As the manifest gives it: small letters, no dot at the end, a star only as a label.
        host: written
            .host
            .as_ref()
            .map(|host| host.host().to_ascii_lowercase().trim_end_matches('.').to_owned())
            .map(|host| match host.strip_prefix('*') {
                Some(rest) => format!("*.{}", rest.trim_start_matches('.')),
                None => host,
            })
            .map(|host| host.trim_end_matches('.').to_owned())
            .filter(|host| host != "*"),
        path: if written.exact { PathPattern::Exact(path) } else { PathPattern::Prefix(path) },
        methods: written.methods.iter().map(|&number| method(number)).collect(),
    }
}

fn method(number: u8) -> Method {
    match number % 4 {
        0 => Method::GET,
        1 => Method::PUT,
        2 => Method::POST,
        _ => Method::DELETE,
    }
}
