//! Whether a response is compressed, and how.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, COOKIE,
    HeaderName, SET_COOKIE,
};
use http::{HeaderMap, StatusCode};

use crate::coding::ContentCoding;
use crate::head;

/// Below this a response fits a packet as it is, and a coding adds more than it takes away.
const WORTH_IT: u64 = 1024;

/// Types that are compressed, beside `text/*` and those that end in `+json` or `+xml`.
const TYPES: [&str; 14] = [
    "application/json",
    "application/javascript",
    "application/x-javascript",
    "application/xml",
    "application/wasm",
    "application/x-ndjson",
    "application/manifest",
    "application/rtf",
    "application/x-sh",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/x-icon",
];

/// What a request says of the response that it wants. Taken before a guest has the request.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    coding: Option<ContentCoding>,
    has_credentials: bool,
    with_credentials: bool,
}

/// What becomes of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes as it is.
    Untouched,
    /// It goes as it is, and another client would get it compressed: a cache has to know.
    Varies,
    /// It has no body, and the one that its client holds has been compressed.
    NotModified,
    /// It goes compressed.
    Compressed(ContentCoding),
}

impl Asked {
    /// Of a request with these headers. `with_credentials`: responses with secrets in them may be compressed too.
    ///
    /// A secret that is compressed together with what somebody else has written can be guessed from the length of the
    /// response (CVE-2013-3587). So a request that says who its client is gets its response plain.
    #[must_use]
    pub fn of(headers: &HeaderMap, with_credentials: bool) -> Self {
        let has = |name: HeaderName| headers.contains_key(name);
        let coding = ContentCoding::wanted(headers).filter(|_| !says(headers, "no-transform"));
        Self { coding, has_credentials: has(COOKIE) || has(AUTHORIZATION), with_credentials }
    }

    /// What becomes of a response with this head, whose body has so many bytes if that is known.
    #[must_use]
    pub fn verdict(self, status: StatusCode, headers: &HeaderMap, length: Option<u64>) -> Verdict {
        let has_body = !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        let is_whole =
            status != StatusCode::PARTIAL_CONTENT && !headers.contains_key(CONTENT_RANGE);
        let is_plain = !headers.contains_key(CONTENT_ENCODING) && !says(headers, "no-transform");
        let has_secrets = self.has_credentials || headers.contains_key(SET_COOKIE);
        let coding = self.coding.filter(|_| self.with_credentials || !has_secrets);
        if status == StatusCode::NOT_MODIFIED {
            // It need not say the type again (RFC 9110 §15.4.5). Without one it stands for what is compressed: of a
            // page that was not, a weak validator says the same.
            let may_be = !headers.contains_key(CONTENT_TYPE) || is_compressible(headers);
            let is_held_compressed = coding.is_some() && is_plain && may_be;
            return if is_held_compressed { Verdict::NotModified } else { Verdict::Varies };
        }
        if !(has_body && is_whole && is_plain && is_compressible(headers)) {
            return Verdict::Untouched;
        }
        if length.is_some_and(|length| length < WORTH_IT) {
            return Verdict::Untouched;
        }
        coding.map_or(Verdict::Varies, Verdict::Compressed)
    }
}

impl Verdict {
    /// Makes the head what the verdict says of the body.
    pub fn write(self, headers: &mut HeaderMap) {
        match self {
            Self::Untouched => {}
            Self::Varies => head::vary(headers),
            Self::NotModified => head::not_modified(headers),
            Self::Compressed(coding) => head::compressed(headers, coding),
        }
    }
}

fn says(headers: &HeaderMap, directive: &str) -> bool {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|one| one.trim().eq_ignore_ascii_case(directive))
}

fn is_compressible(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || TYPES.contains(&essence.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    const GZIP: Verdict = Verdict::Compressed(ContentCoding::Gzip);

    /// The verdict on a page of 4 KiB, with more in the request and in the response.
    fn of(
        request: &[(&'static str, &'static str)],
        status: u16,
        response: &[(&'static str, &'static str)],
        with_credentials: bool,
    ) -> Verdict {
        let mut asked = headers(&[("accept-encoding", "gzip")]);
        asked.extend(headers(request));
        let mut answered = headers(&[("content-type", "text/html; charset=utf-8")]);
        answered.extend(headers(response));
        let status = StatusCode::from_u16(status).unwrap();
        Asked::of(&asked, with_credentials).verdict(status, &answered, Some(4096))
    }

    #[test]
    fn what_may_be_compressed_is_and_a_cache_is_told_where_it_could_have_been() {
        for (request, status, response, verdict) in [
            (("x", ""), 200, ("x", ""), GZIP),
            (("x", ""), 404, ("x", ""), GZIP),
            (("accept-encoding", "identity"), 200, ("x", ""), Verdict::Varies),
            (("x", ""), 204, ("x", ""), Verdict::Untouched),
            (("x", ""), 205, ("x", ""), Verdict::Untouched),
            (("x", ""), 304, ("x", ""), Verdict::NotModified),
            (("x", ""), 304, ("content-type", "image/png"), Verdict::Varies),
            (("x", ""), 304, ("cache-control", "no-transform"), Verdict::Varies),
            (("cookie", "session=1"), 304, ("x", ""), Verdict::Varies),
            (("accept-encoding", "identity"), 304, ("x", ""), Verdict::Varies),
            (("range", "bytes=0-9"), 206, ("content-range", "bytes 0-9/4096"), Verdict::Untouched),
            (("range", "bytes=0-9"), 200, ("x", ""), GZIP),
            (("x", ""), 416, ("content-range", "bytes */4096"), Verdict::Untouched),
            (("x", ""), 200, ("content-encoding", "br"), Verdict::Untouched),
            (("x", ""), 200, ("cache-control", "public, No-Transform"), Verdict::Untouched),
            (("cache-control", "no-transform"), 200, ("x", ""), Verdict::Varies),
            (("x", ""), 200, ("content-type", "image/png"), Verdict::Untouched),
            (("x", ""), 200, ("content-type", "application/grpc"), Verdict::Untouched),
            (("x", ""), 200, ("content-type", "Text/Event-Stream"), GZIP),
            (("x", ""), 200, ("content-type", "application/problem+json"), GZIP),
            (("x", ""), 200, ("content-type", "image/svg+xml"), GZIP),
            (("cookie", "session=1"), 200, ("x", ""), Verdict::Varies),
            (("authorization", "Bearer x"), 200, ("x", ""), Verdict::Varies),
            (("x", ""), 200, ("set-cookie", "session=1"), Verdict::Varies),
        ] {
            // A field of the same name stands in place of the first.
            let found = of(&[request], status, &[response], false);
            assert_eq!(found, verdict, "{request:?} {status} {response:?}");
        }
        for (request, response) in
            [(("cookie", "session=1"), ("x", "")), (("x", ""), ("set-cookie", "session=1"))]
        {
            assert_eq!(of(&[request], 200, &[response], true), GZIP, "{request:?} {response:?}");
        }
    }

    #[test]
    fn what_is_small_or_of_no_type_goes_as_it_is() {
        let asked = Asked::of(&headers(&[("accept-encoding", "gzip")]), false);
        let of = |fields: &[_], length| asked.verdict(StatusCode::OK, &headers(fields), length);
        let text = [("content-type", "text/plain")];
        assert_eq!(of(&text, Some(1023)), Verdict::Untouched);
        assert_eq!(of(&text, Some(1024)), GZIP);
        assert_eq!(of(&text, None), GZIP, "a stream says no length");
        assert_eq!(of(&[], Some(4096)), Verdict::Untouched);
    }

    /// A 304 says what its 200 would say, most often without the type. With the strong validator that the 200 did not
    /// have, a cache found nothing of its own to go on with (RFC 9111 §4.3.4).
    #[test]
    fn not_modified_has_the_weak_validator_of_the_page_that_its_client_holds() {
        let etag = [("etag", "\"v1\"")];
        for (accepts, expected) in [("gzip", "W/\"v1\""), ("identity", "\"v1\"")] {
            let asked = Asked::of(&headers(&[("accept-encoding", accepts)]), false);
            let mut answered = headers(&etag);
            let verdict = asked.verdict(StatusCode::NOT_MODIFIED, &answered, Some(0));
            verdict.write(&mut answered);
            let expected = headers(&[("etag", expected), ("vary", "accept-encoding")]);
            assert_eq!(answered, expected, "{accepts}");
        }
    }
}
