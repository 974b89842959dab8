//! What a client may tell its operator, so that they find the lines of its request.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use super::digits::span_digits;

/// `x-request-id`, which proxies and clients send too.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of one that is taken over.
const LONGEST: usize = 128;

/// The name of a request for the outside: what its client called it, if that is fit for a line of a log, else 16
/// hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    named: Option<HeaderValue>,
    number: u64,
}

impl RequestId {
    /// The name of the header.
    pub const HEADER: HeaderName = HEADER;

    /// That of a request with these headers; `number` where they have none that is fit.
    #[must_use]
    pub fn of(headers: &HeaderMap, number: u64) -> Self {
        Self {
            named: headers.get(HEADER).filter(|value| is_sane(value.as_bytes())).cloned(),
            number,
        }
    }

    /// That of a request without headers that could be read.
    #[must_use]
    pub fn made(number: u64) -> Self {
        Self { named: None, number }
    }

    /// What its client called it, if that was fit: the characters of an id, at most 128.
    #[must_use]
    pub fn named(&self) -> Option<&[u8]> {
        self.named.as_ref().map(HeaderValue::as_bytes)
    }

    /// What its 16 digits are made of, unless it has a name.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// As it stands in a header, and in the log.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        self.named.clone().unwrap_or_else(|| {
            HeaderValue::from_bytes(&span_digits(self.number))
                .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        })
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.named.as_ref().and_then(|named| named.to_str().ok()) {
            Some(named) => f.write_str(named),
            None => write!(f, "{:016x}", self.number),
        }
    }
}

/// Letters, digits and the signs that ids in use have: nothing that a log or a shell could take for more.
fn is_sane(value: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~:+/=@".contains(byte);
    (1..=LONGEST).contains(&value.len()) && value.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sane_is_taken_over() {
        for (sent, told) in [
            ("7b1c-42", "7b1c-42"),
            ("a b", "000000000000002a"),
            ("\"><script>", "000000000000002a"),
            ("", "000000000000002a"),
        ] {
            let headers = HeaderMap::from_iter([(HEADER, HeaderValue::from_static(sent))]);
            let id = RequestId::of(&headers, 42);
            assert_eq!((id.to_string(), id.to_header().to_str().unwrap()), (told.into(), told));
        }
        let long = "x".repeat(LONGEST + 1);
        let headers = HeaderMap::from_iter([(HEADER, HeaderValue::try_from(long).unwrap())]);
        assert_eq!(RequestId::of(&headers, 1), RequestId::made(1));
    }
}
