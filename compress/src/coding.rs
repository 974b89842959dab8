//! Content codings, and which of them a client wants (RFC 9110 §8.4.1, §12.5.3).

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// How the bytes of a response are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentCoding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl ContentCoding {
    /// All of them. The first of those that a client wants alike is taken: it costs the least time for its size.
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// As it stands in `Content-Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn is_called(self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.name())
            || (self == Self::Gzip && name.eq_ignore_ascii_case("x-gzip"))
    }

    /// What a client with these headers wants most. None where it wants no coding, or does not say.
    pub(crate) fn wanted(headers: &HeaderMap) -> Option<Self> {
        let mut best: Option<(Weight, Self)> = None;
        let identity = weight(headers, |name| name.eq_ignore_ascii_case("identity"));
        for coding in Self::ALL {
            let own = weight(headers, |name| coding.is_called(name));
            let weight = own.or_else(|| weight(headers, |name| name == "*")).unwrap_or_default();
            // A client that says so likes it plain better.
            let is_wanted = weight > Weight(0) && identity.is_none_or(|plain| plain <= weight);
            if is_wanted && best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, coding));
            }
        }
        best.map(|(_, coding)| coding)
    }
}

/// How much a client wants a coding, in thousandths (RFC 9110 §12.4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Weight(u16);

/// The weight of the first coding in `Accept-Encoding` whose name is the one.
fn weight(headers: &HeaderMap, is_it: impl Fn(&str) -> bool) -> Option<Weight> {
    let fields = headers.get_all(ACCEPT_ENCODING).iter().filter_map(text);
    let mut codings = fields.flat_map(|field| field.split(','));
    codings.find_map(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        is_it(parts.next()?).then(|| parts.find_map(q).unwrap_or(Weight(1000)))
    })
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

/// The value of a parameter `q`. One that is none is no wish: 0.
fn q(parameter: &str) -> Option<Weight> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let value = value.trim();
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = || format!("{part:0<3}").parse().ok();
    Some(Weight(match (whole, digits) {
        ("0", true) => thousandths().unwrap_or_default(),
        ("1", true) if part.bytes().all(|byte| byte == b'0') => 1000,
        _ => 0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(fields: &[&str]) -> Option<ContentCoding> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(field).unwrap());
        }
        ContentCoding::wanted(&headers)
    }

    #[test]
    fn client_gets_what_it_wants_most_and_of_equals_the_cheapest() {
        use ContentCoding::{Brotli, Gzip, Zstd};
        for (accepts, gets) in [
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip, deflate, br", Some(Brotli)),
            ("gzip", Some(Gzip)),
            ("GZIP", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("gzip;q=1.0, br;q=0.5, zstd;q=0.1", Some(Gzip)),
            ("gzip;q=0.5,br; q=0.501", Some(Brotli)),
            ("*", Some(Zstd)),
            ("zstd;q=0, *;q=0.1", Some(Brotli)),
            ("gzip;q=0", None),
            ("*;q=0", None),
            ("identity", None),
            ("deflate", None),
            ("", None),
            ("identity;q=1, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=1", Some(Gzip)),
            ("identity;q=0, gzip", Some(Gzip)),
            ("gzip;q=2, br;q=-1, zstd;q=nothing", None),
            ("gzip;q=0.0001", None),
            ("gzipped", None),
            (",, gzip ,", Some(Gzip)),
        ] {
            assert_eq!(wanted(&[accepts]), gets, "{accepts}");
        }
        assert_eq!(wanted(&[]), None);
        assert_eq!(wanted(&["br;q=0.1", "gzip"]), Some(Gzip), "two fields are one list");
    }
}
