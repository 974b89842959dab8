//! The head of a response that goes out compressed, or would to another client.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderName, VARY,
};
use http::{HeaderMap, HeaderValue};

use crate::coding::ContentCoding;

/// Checksums of the bytes as they were (RFC 9530, RFC 3230, RFC 1864).
const CHECKSUMS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// Says that the response depends on `Accept-Encoding` (RFC 9110 §12.5.5).
pub(crate) fn vary(headers: &mut HeaderMap) {
    let own = ACCEPT_ENCODING.as_str();
    let said = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    let mut names = said.flat_map(|value| value.split(',')).map(str::trim);
    if !names.any(|name| name == "*" || name.eq_ignore_ascii_case(own)) {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Says that the body is compressed. What the guest said of the bytes before that is true no more: their number, their
/// ranges and their checksums. Its strong validator becomes a weak one (RFC 9110 §8.8.1): the page is the same, and
/// its bytes are not.
pub(crate) fn compressed(headers: &mut HeaderMap, coding: ContentCoding) {
    vary(headers);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    for checksum in CHECKSUMS {
        headers.remove(HeaderName::from_static(checksum));
    }
    let strong = headers.get(ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/"));
    let weak = strong.map(|etag| HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()));
    match weak {
        Some(Ok(weak)) => drop(headers.insert(ETAG, weak)),
        Some(Err(_)) => drop(headers.remove(ETAG)),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn vary_is_said_once() {
        for (before, after) in [
            (&[][..], &["accept-encoding"][..]),
            (&["Origin"], &["Origin", "accept-encoding"]),
            (&["origin, Accept-Encoding"], &["origin, Accept-Encoding"]),
            (&["*"], &["*"]),
        ] {
            let mut headers = set(&before.iter().map(|one| ("vary", *one)).collect::<Vec<_>>());
            vary(&mut headers);
            let told: Vec<_> = headers.get_all(VARY).iter().collect();
            assert_eq!(told, after);
        }
    }

    #[test]
    fn what_was_said_of_the_plain_bytes_is_said_no_more() {
        let mut headers = set(&[
            ("content-length", "4096"),
            ("accept-ranges", "bytes"),
            ("content-digest", "sha-256=:x:"),
            ("etag", "\"v1\""),
            ("content-type", "text/plain"),
        ]);
        compressed(&mut headers, ContentCoding::Brotli);
        let expected = set(&[
            ("content-type", "text/plain"),
            ("etag", "W/\"v1\""),
            ("vary", "accept-encoding"),
            ("content-encoding", "br"),
        ]);
        assert_eq!(headers, expected);
        compressed(&mut headers, ContentCoding::Brotli);
        assert_eq!(headers, expected, "a weak one stays as it is");
    }
}
