//! What must be true of a request before a guest sees it, where hyper does not make sure.
//!
//! Requests that two servers on the way could read in two ways are refused (RFC 9112 §11.2).

use std::net::Ipv6Addr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri, Version};

use super::failure::Failure;
use host_manifest::routes::{percent_decoded, remove_dot_segments};

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
    if request.version() == Version::HTTP_2 {
        check_values(request.headers())?;
        join_cookies(request.headers_mut());
    }
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
        .map_err(|_| BAD_TARGET)?;
    *request.uri_mut() = uri;
    drop_fields_of_the_connection(request.headers_mut());
    Ok(Verdict::Pass)
}

const BAD_TARGET: Failure = Failure::Malformed("bad request target\n");

/// In HTTP/2 no white space stands around a value (RFC 9113 §8.2.1): it would count there, and not in
/// HTTP/1. The other rules h2 sees to.
fn check_values(headers: &HeaderMap) -> Result<(), Failure> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let padded = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        is_space(bytes.first()) || is_space(bytes.last())
    };
    if headers.values().any(padded) {
        return Err(Failure::Malformed("white space around a field value\n"));
    }
    Ok(())
}

/// Puts cookies together that HTTP/2 sends in pieces (RFC 9113 §8.2.3): guests look for one field.
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs = headers.get_all(COOKIE);
    if crumbs.iter().nth(1).is_none() {
        return;
    }
    let sensitive = crumbs.iter().any(HeaderValue::is_sensitive);
    let crumbs: Vec<&[u8]> = crumbs.iter().map(HeaderValue::as_bytes).collect();
    let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
    if let Ok(mut whole) = whole {
        whole.set_sensitive(sensitive);
        headers.insert(COOKIE, whole);
    }
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

/// One `Transfer-Encoding: chunked` and nothing odder.
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
    let target = request
        .uri()
        .authority()
        .map(|target| host_and_port(target.as_str()).ok_or(Failure::Malformed("bad authority\n")));
    let port = match request.uri().scheme_str() {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => 443,
        _ => 80,
    };
    match (target.transpose()?, host, request.version()) {
        (Some(target), Some(host), _) if same(&target, &host, port) => Ok(host),
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
    let host = host.to_str().ok().and_then(host_and_port);
    host.map(Some).ok_or(Failure::Malformed("bad host\n"))
}

/// Host and optional port (RFC 9110 §7.2); no user, not nothing, and not longer than a name can be. A
/// colon without a port is left out: it says nothing (RFC 3986 §6.2.3).
fn host_and_port(text: &str) -> Option<Authority> {
    if text.len() > AUTHORITY {
        return None;
    }
    let authority = text.parse::<Authority>().ok()?;
    let host = authority.host();
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if host.is_empty() || !literal.is_none_or(is_address) {
        return None;
    }
    match text.strip_prefix(host)?.strip_prefix(':') {
        None if text.len() > host.len() => None,
        None => Some(authority),
        Some("") => host.parse().ok(),
        Some(port) => {
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            (digits && port.parse::<u16>().is_ok()).then_some(authority)
        }
    }
}

/// What stands between brackets: an address of version 6, or of a version to come (RFC 3986 §3.2.2).
fn is_address(text: &str) -> bool {
    let Some(future) = text.strip_prefix(['v', 'V']) else {
        return text.parse::<Ipv6Addr>().is_ok();
    };
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:".contains(&byte);
    future.split_once('.').is_some_and(|(version, address)| {
        let hex = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex && !address.is_empty() && address.bytes().all(is_part)
    })
}

/// `port` is that of the scheme, for who names none.
fn same(one: &Authority, other: &Authority, port: u16) -> bool {
    let port = |authority: &Authority| authority.port_u16().unwrap_or(port);
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}

/// The path of the request, or none for `OPTIONS *`.
fn path<B>(request: &Request<B>) -> Result<Option<PathAndQuery>, Failure> {
    let uri = request.uri();
    let is_http = |scheme: &str| ["http", "https"].iter().any(|it| it.eq_ignore_ascii_case(scheme));
    if uri.scheme_str().is_some_and(|scheme| !is_http(scheme)) {
        return Err(Failure::Malformed("bad scheme\n"));
    }
    // None: the form of CONNECT (RFC 9112 §3.2.3).
    let path = uri.path_and_query().ok_or(BAD_TARGET)?;
    match path.as_str() {
        "*" if *request.method() == Method::OPTIONS => Ok(None),
        // Beyond ASCII nothing may stand there as it is (RFC 3986 §2).
        text if !text.is_ascii() => Err(BAD_TARGET),
        text if text.starts_with('/') => Ok(Some(path.clone())),
        // An absolute URI may leave out the path (RFC 3986 §3.3); `:path` may not (RFC 9113 §8.3.1).
        text if text.starts_with('?') && request.version() != Version::HTTP_2 => {
            format!("/{text}").parse().map(Some).map_err(|_| BAD_TARGET)
        }
        _ => Err(BAD_TARGET),
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
    let once = percent_decoded(path);
    let twice = percent_decoded(&once);
    let mut readings = Vec::new();
    for percent_decoded in [path, &once, &twice] {
        let slashes = percent_decoded.replace('\\', "/");
        for text in [percent_decoded, &slashes] {
            readings.push(text.to_owned());
            readings.push(remove_dot_segments(text, false));
            readings.push(remove_dot_segments(text, true));
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

    /// Was refused though it is legal.
    #[test]
    fn what_says_the_same_in_other_words_is_the_same() {
        for (uri, host, seen) in [
            ("http://a?x=1", "a", "http://a/?x=1"),
            ("http://a?", "a", "http://a/?"),
            ("http://a", "a", "http://a/"),
            ("HTTP://a:80/", "A:", "http://A/"),
            ("http://a:/x", "a:80", "http://a:80/x"),
            ("http://a:/x", "a:0080", "http://a:0080/x"),
            ("https://a/", "a:443", "http://a:443/"),
            ("https://a:443/", "a", "http://a/"),
            ("/", "a:", "http://a/"),
            ("/", "[::1]:", "http://[::1]/"),
            ("/", "[v1.x:y]", "http://[v1.x:y]/"),
            ("/", "a_b~!$&'()*+,;=c", "http://a_b~!$&'()*+,;=c/"),
        ] {
            assert_eq!(h1("GET", uri, &[("host", host)]).as_deref(), Ok(seen), "{uri} {host}");
        }
        for method in ["QUERY", "PURGE", "get", "M-SEARCH"] {
            assert_eq!(h1(method, "/", &[("host", "a")]).as_deref(), Ok("http://a/"), "{method}");
        }
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
            ("GET", "/", &[("host", ":80")]),
            ("GET", "/", &[("host", "a:+80")]),
            ("GET", "/", &[("host", "a::")]),
            ("GET", "/", &[("host", "a:8 0")]),
            ("GET", "/", &[("host", "[::1]80")]),
            ("GET", "/", &[("host", "[]")]),
            ("GET", "/", &[("host", "[a]")]),
            ("GET", "/", &[("host", "[::1%25eth0]")]),
            ("GET", "/", &[("host", "[v.x]")]),
            ("GET", "/", &[("host", "%61")]),
            ("GET", "/", &[("host", "::1")]),
            ("GET", "a", &[("host", "a")]),
            ("GET", "a:80", &[("host", "a:80")]),
            ("GET", "/\u{e9}", &[("host", "a")]),
            ("GET", "/?\u{e9}", &[("host", "a")]),
            ("GET", "http://a/\u{e9}", &[("host", "a")]),
            ("GET", "https://a:80/", &[("host", "a")]),
            ("GET", "http://a/", &[("host", "a:443")]),
            ("GET", "http://u:p@a/", &[("host", "a")]),
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
        assert_eq!(check("https://a:443/x", &[("host", "a")]).unwrap(), "http://a/x");
        assert_eq!(check("https://a/x", &[("host", "a:443")]).unwrap(), "http://a:443/x");
        assert_eq!(check("http://a:/x", &[("host", "a:80")]).unwrap(), "http://a:80/x");
        assert_eq!(check("HTTPS://a/x", &[]).unwrap(), "http://a/x");
        for (uri, headers) in [
            ("http://a/x", &[("host", "b")][..]),
            ("http://a:443/x", &[("host", "a")]),
            ("https://a:80/x", &[("host", "a")]),
            ("http://u@a/x", &[]),
            ("http://a?x", &[]),
            ("http://a/\u{e9}", &[]),
            ("/x", &[]),
            ("http://a/", &[("x", " y")]),
            ("http://a/", &[("x", "y\t")]),
        ] {
            let refused = check(uri, headers);
            assert!(
                matches!(refused, Err(Failure::Malformed(_))),
                "{uri} {headers:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn cookies_that_http2_sends_in_pieces_are_put_together() {
        let cookies = |version, crumbs: &[&str]| {
            let crumbs: Vec<_> = crumbs.iter().map(|crumb| ("cookie", *crumb)).collect();
            let mut request =
                request(version, "GET", "/", &[&crumbs, &[("host", "a")][..]].concat());
            // As many fields as a head may have, when they are together.
            assert_eq!(check(&mut request, 2), Ok(Verdict::Pass));
            let seen = request.headers().get_all(COOKIE).iter();
            seen.map(|cookie| cookie.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(cookies(Version::HTTP_2, &["a=1", "b=2", "c=\"3\""]), ["a=1; b=2; c=\"3\""]);
        assert_eq!(cookies(Version::HTTP_2, &["a=1; b=2"]), ["a=1; b=2"]);
        assert_eq!(cookies(Version::HTTP_2, &[]), [""; 0]);
        // HTTP/1 has one field (RFC 6265 §5.4): two are two, to whoever reads them.
        assert_eq!(cookies(Version::HTTP_11, &["a=1"]), ["a=1"]);
    }
}
