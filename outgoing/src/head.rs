//! What of the head of a message belongs to the connection, and not to the guest.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Version, request, response};

use crate::SendError;
use crate::target::Target;

/// Fields of a connection (RFC 9110 §7.6.1, RFC 9113 §8.2.2) that names do not stand for in `http`.
const OF_CONNECTIONS: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

/// Makes the head of a guest one that may be sent: to the target that was judged, with what the
/// connection needs left to hyper. Extensions of the guest's side do not travel.
///
/// Framing is hyper's alone: it writes `Transfer-Encoding` and, unless the guest said it,
/// `Content-Length`; what exceeds a length is not sent, and what falls short ends the connection, unless
/// there is no body at all (`empty`): then a length is refused here.
/// CR and LF cannot be in a head: `HeaderValue`, `HeaderName`, `Method` and `Uri` do not hold them.
pub(crate) fn sendable(
    head: &mut request::Parts,
    target: &Target,
    empty: bool,
) -> Result<(), SendError> {
    if head.method == Method::CONNECT {
        return Err(SendError::Method);
    }
    head.uri = target.uri(head.uri.path_and_query().cloned())?;
    // 1.0 would forbid chunks, 2 would fail where the server speaks only 1.1: the pool knows.
    head.version = Version::HTTP_11;
    head.extensions.clear();
    let trailers = wants_trailers(&head.headers);
    strip(&mut head.headers);
    // hyper writes it from the URI, so it names the host that was judged.
    head.headers.remove(HOST);
    if trailers {
        head.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    match length(&head.headers)? {
        // hyper would send the length, no byte, and the next request over the same connection, which
        // the server would take for this body.
        Some(1..) if empty => {
            Err(SendError::Header("content-length promises a body, and there is none"))
        }
        _ => Ok(()),
    }
}

/// Makes the head of a response one for a guest. Extensions are of the pool.
pub(crate) fn received(head: &mut response::Parts) {
    head.extensions.clear();
    // It is void beside chunks (RFC 9112 §6.3), and the chunks end here.
    if head.headers.contains_key(TRANSFER_ENCODING) {
        head.headers.remove(CONTENT_LENGTH);
    }
    strip(&mut head.headers);
}

/// Takes out what is about the connection that a message came over, and what `Connection` says is.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // A guest must not take the length away from a body by naming it.
        .filter(|name| *name != CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in
        [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE]
    {
        headers.remove(name);
    }
    for name in OF_CONNECTIONS {
        headers.remove(name);
    }
}

/// Takes out of trailers what a recipient could take for framing or routing (RFC 9110 §6.5.1).
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    strip(trailers);
    trailers.remove(CONTENT_LENGTH);
    trailers.remove(HOST);
}

/// `TE: trailers` is the one wish that holds beyond a connection (RFC 9113 §8.2.2).
fn wants_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|te| te.trim().eq_ignore_ascii_case("trailers"))
}

/// At most one length, in digits: two would be two ends of one message (RFC 9112 §6.3).
fn length(headers: &HeaderMap) -> Result<Option<u64>, SendError> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(None) };
    let digits = length.as_bytes().iter().all(u8::is_ascii_digit);
    let number = length.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    match number {
        Some(number) if digits && lengths.next().is_none() => Ok(Some(number)),
        _ => Err(SendError::Header("content-length is not one number")),
    }
}
