//! What guests are told of the way of a request: four fields, always in the same form.

use std::net::IpAddr;

use http::header::FORWARDED;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::element::is_plain;
use super::forwarding::Forwarding;
use super::names::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, is_claim};

/// The four fields that say who sent a request, and what for. Cheap to write into many requests of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedFields {
    senders: HeaderValue,
    host: HeaderValue,
    proto: HeaderValue,
    forwarded: HeaderValue,
}

impl ForwardedFields {
    /// Of a request that has come this way, by this scheme and for this host as its client saw them.
    #[must_use]
    pub fn new(way: &Forwarding, scheme: &Scheme, host: &Authority) -> Self {
        let (mut list, mut forwarded) = (String::new(), String::new());
        let proto = if *scheme == Scheme::HTTPS { "https" } else { "http" };
        for sender in way.senders() {
            let is_client = list.is_empty();
            if !is_client {
                list.push_str(", ");
                forwarded.push_str(", ");
            }
            let (plain, node) = match sender {
                Some(IpAddr::V6(ip)) => (ip.to_string(), format!("\"[{ip}]\"")),
                Some(IpAddr::V4(ip)) => (ip.to_string(), ip.to_string()),
                None => ("unknown".to_owned(), "unknown".to_owned()),
            };
            list.push_str(&plain);
            forwarded.push_str("for=");
            forwarded.push_str(&node);
            if is_client {
                // It may have a `,`, a `;` or a `=` in it, by which a client could say here who it is. An authority has
                // neither of the letters that end a quoted string.
                let quote = if is_plain(host.as_str()) { "" } else { "\"" };
                forwarded.push_str(&format!(";host={quote}{host}{quote};proto={proto}"));
            }
        }
        // An authority has no letter that a field may not have.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(UNKNOWN);
        Self {
            senders: value(list),
            host: value(host.as_str().to_owned()),
            proto: HeaderValue::from_static(proto),
            forwarded: value(forwarded),
        }
    }

    /// The host that they name.
    #[must_use]
    pub fn host(&self) -> &[u8] {
        self.host.as_bytes()
    }

    /// Writes them, in place of what stands there under their names.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(FORWARDED, self.forwarded.clone());
        headers.insert(X_FORWARDED_FOR, self.senders.clone());
        headers.insert(X_FORWARDED_HOST, self.host.clone());
        headers.insert(X_FORWARDED_PROTO, self.proto.clone());
    }
}

const UNKNOWN: HeaderValue = HeaderValue::from_static("unknown");

/// Takes out what only a trusted proxy may say: every field whose name begins with `X-Forwarded-`, and `X-Real-IP`.
/// Those that [`ForwardedFields::write`] replaces may be left.
pub fn remove_claims(headers: &mut HeaderMap) {
    remove_all(headers, |name| is_claim(name) && !is_replaced(name));
}

/// Takes out the fields whose names are such.
pub fn remove_all(headers: &mut HeaderMap, is_such: impl Fn(&str) -> bool) {
    // Of most requests none, and nothing is allocated.
    let such = headers.keys().filter(|name| is_such(name.as_str()));
    let such: Vec<HeaderName> = such.cloned().collect();
    for name in such {
        headers.remove(name);
    }
}

fn is_replaced(name: &str) -> bool {
    matches!(name, "forwarded" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field =
            |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        fields.iter().copied().map(field).collect()
    }

    #[test]
    fn fields_are_written_in_one_form() {
        for (peer, scheme, host, list, forwarded) in [
            (
                Some("192.0.2.1"),
                Scheme::HTTP,
                "shop.example",
                "192.0.2.1",
                "for=192.0.2.1;host=shop.example;proto=http",
            ),
            (
                Some("::ffff:192.0.2.1"),
                Scheme::HTTPS,
                "shop.example:8443",
                "192.0.2.1",
                "for=192.0.2.1;host=\"shop.example:8443\";proto=https",
            ),
            (
                Some("2001:db8::1"),
                Scheme::HTTP,
                "[2001:db8::2]",
                "2001:db8::1",
                "for=\"[2001:db8::1]\";host=\"[2001:db8::2]\";proto=http",
            ),
            (None, Scheme::HTTP, "localhost", "unknown", "for=unknown;host=localhost;proto=http"),
            // Found by the fuzzer: what a client says of itself in the name of a host.
            (
                Some("192.0.2.1"),
                Scheme::HTTP,
                "a,for=6.6.6.6;proto=https",
                "192.0.2.1",
                "for=192.0.2.1;host=\"a,for=6.6.6.6;proto=https\";proto=http",
            ),
        ] {
            let way = Forwarding::direct(peer.map(|peer| peer.parse().unwrap()));
            let mut written = headers(&[
                ("x-forwarded-for", "203.0.113.1"),
                ("forwarded", "for=203.0.113.1"),
                ("x-forwarded-proto", "gopher"),
                ("x-forwarded-host", "evil.example"),
            ]);
            written.append(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.2"));
            ForwardedFields::new(&way, &scheme, &host.parse().unwrap()).write(&mut written);
            assert_eq!(written.len(), 4);
            assert_eq!(written[X_FORWARDED_FOR], list);
            assert_eq!(written[X_FORWARDED_HOST], host);
            assert_eq!(written[X_FORWARDED_PROTO], scheme.as_str());
            assert_eq!(written[FORWARDED], forwarded);
            // What is written is read back.
            assert!(super::super::element::elements(forwarded).is_some());
        }
    }

    #[test]
    fn a_stranger_says_nothing_of_the_kind() {
        let mut sent = headers(&[
            ("accept", "*/*"),
            ("x-real-ip", "10.0.0.1"),
            ("x-forwarded-user", "root"),
            ("x-forwarded-port", "443"),
            ("x-forwarded", "yes"),
            ("x-forwarded-for", "10.0.0.1"),
        ]);
        sent.append("x-forwarded-user", HeaderValue::from_static("admin"));
        remove_claims(&mut sent);
        let mut left: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "x-forwarded", "x-forwarded-for"]);
    }
}
