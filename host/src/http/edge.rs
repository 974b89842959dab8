//! What must be true of a request before a guest sees it, where hyper does not make sure.
//!
//! Requests that two servers on the way could read in two ways are refused (RFC 9112 §11.2).

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri, Version};

use super::failure::Failure;
use host_manifest::routes::{decoded, resolved};

/// The authority of an HTTP/1.0 request that names none.
pub(super) const NAMELESS: Authority = Authority::from_static("localhost");

/// Bytes of a method: those that there are have 16 at most (RFC 9110 §16.1.1). What a plugin passes on
/// has no more either, so no client can have a plugin fail with one.
pub(super) const METHOD: usize = 32;

/// Bytes of an authority: a name has 255 at most (RFC 1035 §2.3.4), a port 5. Less than a plugin may
/// give to what it passes on.
const AUTHORITY: usize = 255 + ":65535".len();

/// What the edge made of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// For a guest; its URI is absolute now.
    Pass,
    /// `OPTIONS *`: for the server as a whole.
    ServerOptions,
}

/// Checks a request and makes its URI absolute, so that guests see scheme and authority.
///
/// `headers` is the most that a request may have: hyper makes sure of it for HTTP/1 only.
pub(super) fn check<B>(request: &mut Request<B>, headers: usize) -> Result<Verdict, Failure> {
    if request.headers().len() > headers {
        return Err(Failure::HeadTooLarge);
    }
    if request.method().as_str().len() > METHOD {
        return Err(Failure::MethodTooLong);
    }
    if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
        return Err(Failure::Method);
    }
    check_framing(request)?;
    let authority = authority(request)?;
    let Some(path) = path(request)? else { return Ok(Verdict::ServerOptions) };
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|_| Failure::Malformed("bad request target\n"))?;
    *request.uri_mut() = uri;
    drop_fields_of_the_connection(request.headers_mut());
    Ok(Verdict::Pass)
}

/// Removes the fields that `Connection` names: they were for this host only (RFC 9110 §7.6.1). What
/// frames the message stays, whatever is said of it.
fn drop_fields_of_the_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT].contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// One `Transfer-Encoding: chunked` and nothing odder. Beside a length, hyper goes by the coding,
/// removes the length and closes afterwards, as RFC 9112 §6.1 says.
fn check_framing<B>(request: &Request<B>) -> Result<(), Failure> {
    let headers = request.headers();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Failure::Malformed("bad transfer-encoding\n"));
    }
    Ok(())
}

/// The one authority that all parts of the request agree on (RFC 9112 §3.2, RFC 9113 §8.3.1).
fn authority<B>(request: &Request<B>) -> Result<Authority, Failure> {
    let host = host(request.headers())?;
    let target = request.uri().authority().cloned();
    if target.as_ref().is_some_and(|authority| !is_host(authority.as_str())) {
        return Err(Failure::Malformed("bad authority\n"));
    }
    match (target, host, request.version()) {
        (Some(target), Some(host), _) if same(&target, &host) => Ok(host),
        (Some(_), Some(_), _) => Err(Failure::Malformed("host and request target differ\n")),
        (Some(target), None, Version::HTTP_2 | Version::HTTP_10) => Ok(target),
        (None, Some(host), _) => Ok(host),
        (None, None, Version::HTTP_10) => Ok(NAMELESS),
        (_, None, _) => Err(Failure::Malformed("no host\n")),
    }
}

fn host(headers: &HeaderMap) -> Result<Option<Authority>, Failure> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err(Failure::Malformed("more than one host\n"));
    }
    host.to_str()
        .ok()
        .filter(|host| is_host(host))
        .and_then(|host| host.parse().ok())
        .map(Some)
        .ok_or(Failure::Malformed("bad host\n"))
}

/// Host and optional port (RFC 9110 §7.2); no user, not nothing, and not longer than a name can be.
fn is_host(host: &str) -> bool {
    if host.len() > AUTHORITY {
        return false;
    }
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let port_is_good = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => true,
        Some(port) => port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()),
        None => false,
    };
    !authority.host().is_empty() && port_is_good
}

fn same(one: &Authority, other: &Authority) -> bool {
    let port = |authority: &Authority| authority.port_u16().unwrap_or(80);
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}

/// The path of the request, or none for `OPTIONS *`.
fn path<B>(request: &Request<B>) -> Result<Option<PathAndQuery>, Failure> {
    let uri = request.uri();
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(Failure::Malformed("bad scheme\n"));
    }
    match uri.path_and_query() {
        Some(path) if path.as_str() == "*" && *request.method() == Method::OPTIONS => Ok(None),
        Some(path) if path.as_str().starts_with('/') => Ok(Some(path.clone())),
        None if uri.authority().is_some() => Ok(Some(PathAndQuery::from_static("/"))),
        Some(_) | None => Err(Failure::Malformed("bad request target\n")),
    }
}

/// The other ways in which a path can be read: percent-encoding undone once or twice, dots resolved,
/// empty segments left out, backslashes taken for slashes (RFC 3986 §6.2.2), each by itself and all
/// together. Routes are found by the bytes: a request for which a reading leads to another place could
/// reach a component past the plugins that stand before that path.
pub(super) fn other_readings(path: &str) -> Vec<String> {
    let plain = !path.contains(['%', '\\']) && !path.contains("/.") && !path.contains("//");
    if plain && path.is_ascii() {
        return Vec::new();
    }
    let once = decoded(path);
    let twice = decoded(&once);
    let mut readings = Vec::new();
    for decoded in [path, &once, &twice] {
        let slashes = decoded.replace('\\', "/");
        for text in [decoded, &slashes] {
            readings.push(text.to_owned());
            readings.push(resolved(text, false));
            readings.push(resolved(text, true));
        }
    }
    readings.sort();
    readings.dedup();
    readings.retain(|reading| reading != path);
    readings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().version(version).method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn h1(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<String, Failure> {
        let mut request = request(Version::HTTP_11, method, uri, headers);
        check(&mut request, 100).map(|verdict| match verdict {
            Verdict::Pass => request.uri().to_string(),
            Verdict::ServerOptions => "*".into(),
        })
    }

    #[test]
    fn a_good_request_gets_an_absolute_uri() {
        let host = [("host", "a.example:8080")];
        assert_eq!(h1("GET", "/x?y=1", &host).unwrap(), "http://a.example:8080/x?y=1");
        assert_eq!(h1("GET", "http://A.example:8080/x", &host).unwrap(), "http://a.example:8080/x");
        assert_eq!(h1("GET", "/", &[("host", "[::1]:80")]).unwrap(), "http://[::1]:80/");
        assert_eq!(h1("OPTIONS", "*", &host).unwrap(), "*");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (method, uri, headers) in [
            ("GET", "/", &[][..]),
            ("GET", "/", &[("host", "a"), ("host", "b")]),
            ("GET", "/", &[("host", "a"), ("host", "a")]),
            ("GET", "/", &[("host", "a b")]),
            ("GET", "/", &[("host", "")]),
            ("GET", "/", &[("host", "user@a")]),
            ("GET", "/", &[("host", "a:port")]),
            ("GET", "/", &[("host", "a:99999")]),
            ("GET", "/", &[("host", "a/b")]),
            ("GET", "http://b/", &[("host", "a")]),
            ("GET", "http://a:81/", &[("host", "a")]),
            ("GET", "ftp://a/", &[("host", "a")]),
            ("GET", "*", &[("host", "a")]),
            ("POST", "/", &[("host", "a"), ("transfer-encoding", "identity, chunked")]),
            ("POST", "/", &[("host", "a"), ("transfer-encoding", "gzip")]),
            (
                "POST",
                "/",
                &[
                    ("host", "a"),
                    ("transfer-encoding", "chunked"),
                    ("transfer-encoding", "chunked"),
                ],
            ),
        ] {
            let answer = h1(method, uri, headers);
            assert!(
                matches!(answer, Err(Failure::Malformed(_))),
                "{method} {uri} {headers:?}: {answer:?}"
            );
        }
        assert_eq!(h1("TRACE", "/", &[("host", "a")]), Err(Failure::Method));
        assert_eq!(h1("CONNECT", "a:80", &[("host", "a:80")]), Err(Failure::Method));
    }

    #[test]
    fn paths_that_can_be_read_in_other_ways_are_seen_as_other_readers_would() {
        for plain in ["/", "/shop", "/shop/a.b/x..c", "/a/", "/shop/x-y_z~"] {
            assert_eq!(other_readings(plain), [""; 0], "{plain}");
        }
        for (path, read) in [
            ("/x/../admin", "/admin"),
            ("/x/%2e%2E/admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/%2561dmin", "/admin"),
            ("/%61dmin/../x", "/admin/../x"),
            ("/admin/%2e%2e/x", "/x"),
            ("//admin/", "/admin/"),
            ("/./admin", "/admin"),
            ("/x%2f..%2fadmin", "/admin"),
            ("/x\\..\\admin", "/admin"),
            ("/x//../admin", "/admin"),
            ("/x//../admin", "/x/admin"),
            ("/admin/..", "/"),
            ("/../..", "/"),
        ] {
            let others = other_readings(path);
            assert!(others.iter().any(|other| other == read), "{path}: {others:?}");
        }
        for (path, read) in [
            ("/%c3%a9", "/%C3%A9"),
            ("/é", "/%C3%A9"),
            ("/%25C3%A9", "/%C3%A9"),
            ("/a%zz", "/a%25zz"),
        ] {
            assert_eq!(other_readings(path), [read], "{path}");
        }
        for path in ["/%C3%A9", "/a%20b", "/100%25", "/100%25/a%3Fb%23"] {
            assert_eq!(other_readings(path), [""; 0], "the one way to write it: {path}");
        }
    }

    #[test]
    fn fields_that_are_for_this_connection_go_no_further() {
        let headers = [
            ("host", "a"),
            ("connection", "close, X-Own"),
            ("connection", "host, content-length"),
            ("x-own", "1"),
            ("x-other", "2"),
            ("content-length", "0"),
        ];
        let mut request = request(Version::HTTP_11, "GET", "/", &headers);
        assert_eq!(check(&mut request, 100), Ok(Verdict::Pass));
        let mut left: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        // A map: a removal changes the order.
        left.sort_unstable();
        assert_eq!(left, ["connection", "content-length", "host", "x-other"]);
    }

    #[test]
    fn old_clients_need_no_host() {
        let mut request = request(Version::HTTP_10, "GET", "/x", &[]);
        assert_eq!(check(&mut request, 100), Ok(Verdict::Pass));
        assert_eq!(request.uri(), "http://localhost/x");
    }

    #[test]
    fn in_http2_the_authority_may_stand_in_either_place_but_not_in_two_ways() {
        let check = |uri: &str, headers: &[(&str, &str)]| {
            let mut request = request(Version::HTTP_2, "GET", uri, headers);
            check(&mut request, 100).map(|_| request.uri().to_string())
        };
        assert_eq!(check("http://a/x", &[]).unwrap(), "http://a/x");
        assert_eq!(check("/x", &[("host", "a")]).unwrap(), "http://a/x");
        assert!(check("http://a/x", &[("host", "b")]).is_err());
        assert!(check("/x", &[]).is_err());
    }
}
