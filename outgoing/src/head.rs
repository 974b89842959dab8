//! What of the head of a message belongs to the connection, and not to the guest.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, StatusCode, Version, request, response};

use crate::SendError;
use crate::destination::Destination;

/// Fields of a connection (RFC 9110 §7.6.1, RFC 9113 §8.2.2) that names do not stand for in `http`.
const OF_CONNECTIONS: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

/// Makes the head of a guest one that may be sent: to the destination that was judged, with what the
/// connection needs left to hyper. Extensions of the guest's side do not travel.
///
/// Of the framing only the guest's `Content-Length` is left, which is handed back: see `framing.rs`.
/// CR and LF cannot be in a head: `HeaderValue`, `HeaderName`, `Method` and `Uri` do not hold them.
pub(crate) fn sendable(
    head: &mut request::Parts,
    destination: &Destination,
) -> Result<Option<u64>, SendError> {
    if head.method == Method::CONNECT {
        return Err(SendError::Method);
    }
    head.uri = destination.uri(head.uri.path_and_query().cloned())?;
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
    let length = length(&head.headers)?;
    if let Some(length) = length {
        // In one spelling, which hyper reads as we do.
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(length)
}

/// Makes the head of a response one for a guest. Extensions are of the pool.
///
/// # Errors
/// The server says two things of where its body ends, or sends it in a coding that the request did not ask for.
pub(crate) fn received(head: &mut response::Parts) -> Result<(), SendError> {
    head.extensions.clear();
    if head.headers.contains_key(TRANSFER_ENCODING) {
        only_chunks(&head.headers)?;
        // It is void beside chunks (RFC 9112 §6.3), and the chunks end here.
        head.headers.remove(CONTENT_LENGTH);
    }
    // RFC 9110 §8.6: there is none, whatever it says, and a guest that hands it on must not promise one.
    if head.status == StatusCode::NO_CONTENT {
        head.headers.remove(CONTENT_LENGTH);
    }
    one_length(&mut head.headers)?;
    strip(&mut head.headers);
    trim(&mut head.headers);
    Ok(())
}

/// hyper takes the chunks off, and nothing else: what is under `gzip, chunked` would be bytes of gzip
/// that nothing says is that (RFC 9112 §7, §7.4: no coding is sent that was not asked for with TE).
fn only_chunks(headers: &HeaderMap) -> Result<(), SendError> {
    let codings = headers.get_all(TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
    let mut codings = codings.flat_map(|value| value.split(|byte| *byte == b','));
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (Some(only), None) if is_chunked(only) => Ok(()),
        _ => Err(SendError::TransferCoding),
    }
}

/// Lengths that are equal become one, also such as `5, 5` in one line; others are refused
/// (RFC 9110 §8.6, RFC 9112 §6.3).
fn one_length(headers: &mut HeaderMap) -> Result<(), SendError> {
    let said = headers.get_all(CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    let mut lengths = said.flat_map(|value| value.split(|byte| *byte == b',')).map(number);
    let Some(first) = lengths.next() else { return Ok(()) };
    match first {
        Some(length) if lengths.all(|other| other == Some(length)) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            Ok(())
        }
        _ => Err(SendError::Protocol("its content-length is not one number".into())),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = digits.trim_ascii();
    let are_digits = digits.iter().all(u8::is_ascii_digit);
    are_digits.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// A value that was folded may begin with the space that stands for its line end (RFC 9112 §5.2).
fn trim(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let trimmed = value.as_bytes().trim_ascii();
        if trimmed.len() != value.len()
            && let Ok(trimmed) = HeaderValue::from_bytes(trimmed)
        {
            *value = trimmed;
        }
    }
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
    match number(length.as_bytes()) {
        Some(number) if lengths.next().is_none() => Ok(Some(number)),
        _ => Err(SendError::Header("content-length is not one number")),
    }
}
