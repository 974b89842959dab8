//! What must be true of a request before a guest sees it, where hyper does not make sure.
//!
//! Requests that two servers on the way could read in two ways are refused (RFC 9112 §11.2).

use std::net::Ipv6Addr;
use std::sync::OnceLock;

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
pub(super) enum Checked {
    /// For a guest; its URI is absolute now.
    Pass,
    /// `OPTIONS *`: for the server as a whole.
    ServerOptions,
}

/// The host that the first request of a connection named. Most of its requests name the same one, which is
/// read once then.
#[derive(Debug, Default)]
pub(super) struct KnownHost(OnceLock<Authority>);

/// Checks a request and makes its URI absolute, so that guests see scheme and authority.
///
/// `headers` is the most that a request may have: hyper makes sure of it for HTTP/1 only. `known` is what its
/// connection knows, `scheme` that by which its client has asked.
pub(super) fn check<B>(
    request: &mut Request<B>,
    headers: usize,
    (known, scheme): (&KnownHost, Scheme),
) -> Result<Checked, Failure> {
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
    let authority = authority(request, known)?;
    let Some(path) = path(request)? else { return Ok(Checked::ServerOptions) };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|_| BAD_TARGET)?;
    *request.uri_mut() = uri;
    drop_fields_of_the_connection(request.headers_mut());
    Ok(Checked::Pass)
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
fn authority<B>(request: &Request<B>, known: &KnownHost) -> Result<Authority, Failure> {
    let host = host(request.headers(), known)?;
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

fn host(headers: &HeaderMap, known: &KnownHost) -> Result<Option<Authority>, Failure> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err(Failure::Malformed("more than one host\n"));
    }
    known.read(host).map(Some).ok_or(Failure::Malformed("bad host\n"))
}

impl KnownHost {
    fn read(&self, host: &HeaderValue) -> Option<Authority> {
        let known = self.0.get().filter(|known| known.as_str().as_bytes() == host.as_bytes());
        known.cloned().or_else(|| {
            let host = host_and_port(host.to_str().ok()?)?;
            // The first one stays.
            self.0.set(host.clone()).ok();
            Some(host)
        })
    }
}

/// Host and optional port (RFC 9110 §7.2); no user, not nothing, and not longer than a name can be. A
/// colon without a port is left out: it says nothing (RFC 3986 §6.2.3). A URI may have a `,` there, and no name has:
/// in `X-Forwarded-Host` it would be read as two.
fn host_and_port(text: &str) -> Option<Authority> {
    if text.len() > AUTHORITY || text.contains(',') {
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

/// `port` is that of the scheme, where one names none.
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
#[path = "validate_tests.rs"]
mod tests;
