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
    weaken(headers);
}

/// Says of a page that was sent compressed that it is still the same: with the validator that it had then.
pub(crate) fn not_modified(headers: &mut HeaderMap) {
    vary(headers);
    weaken(headers);
}

/// What is no entity tag (RFC 9110 §8.8.3), `v1` without its quotation marks, cannot be made weak and is taken out, as
/// nginx does: left there, a cache could take it for that of the plain bytes too, and join pieces of both.
fn weaken(headers: &mut HeaderMap) {
    let Some(etag) = headers.get(ETAG).map(HeaderValue::as_bytes) else { return };
    let opaque = etag.strip_prefix(b"W/").unwrap_or(etag);
    let inner = opaque.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let is_tag = inner.is_some_and(|inner| !inner.contains(&b'"'));
    let weak = is_tag.then(|| HeaderValue::from_bytes(&[b"W/", opaque].concat()));
    match weak {
        Some(Ok(weak)) => drop(headers.insert(ETAG, weak)),
        Some(Err(_)) | None => drop(headers.remove(ETAG)),
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

    /// `v1` became `W/v1`, which nobody can read.
    #[test]
    fn what_is_no_entity_tag_is_not_made_one() {
        for (before, after) in [
            ("\"v1\"", Some("W/\"v1\"")),
            ("\"\"", Some("W/\"\"")),
            ("W/\"v1\"", Some("W/\"v1\"")),
            ("v1", None),
            ("W/v1", None),
            ("\"", None),
            ("w/\"v1\"", None),
            ("\"v1\", \"v2\"", None),
        ] {
            let mut headers = set(&[("etag", before)]);
            compressed(&mut headers, ContentCoding::Gzip);
            let told = headers.get(ETAG).map(|etag| etag.to_str().unwrap());
            assert_eq!(told, after, "{before}");
        }
    }
}
