//! Headers that a route sets, adds and removes.

use host_forwarded::{CERTIFICATE_FIELDS, dashed, is_claim};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What a route does with the headers of its requests and of their responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteHeaders {
    /// Before a guest sees the request.
    pub request: HeaderRules,
    /// Before the client sees the response.
    pub response: HeaderRules,
}

/// What is done with the headers of a message, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// All fields of these names are taken out.
    pub remove: Vec<HeaderName>,
    /// These stand in place of all fields of their names.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// These are added to those that there are.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// A kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageKind {
    Request,
    Response,
}

impl RouteHeaders {
    /// Whether it does nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl HeaderRules {
    /// Does it.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
    }
}

impl MessageKind {
    /// Why a header is not the operator's to change, if it is not.
    pub(crate) fn refuses(self, name: &HeaderName) -> Option<&'static str> {
        let name = name.as_str();
        match name {
            "content-length" | "transfer-encoding" | "trailer" => {
                return Some("says where a message ends, which only its sender knows");
            }
            "host" => return Some("says which route a request takes, and has been read by then"),
            name if is_of_connection(name) => {
                return Some("is of one connection, not of a message");
            }
            _ => {}
        }
        match self {
            Self::Request if name == "expect" => Some("is of one connection, not of a message"),
            Self::Request if is_claim(name) => {
                Some("says who the client is, and the host writes it (docs/http.md)")
            }
            Self::Request if says_what_the_client_has_shown(name) => Some(
                "says which certificate the client has shown, and the host writes it (docs/tls.md)",
            ),
            Self::Request if matches!(name, "host-hops" | "traceparent" | "tracestate") => {
                Some("is written by the host")
            }
            Self::Response if name == "date" => Some("is written by the host"),
            Self::Request | Self::Response => None,
        }
    }
}

/// Whether fields of this name are of one connection, and are gone before a guest sees the message.
pub(crate) fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether fields of this name say which certificate a client has, to somebody who takes `_` for `-`, too: to guests
/// the host says that, or may do so one day.
pub(crate) fn says_what_the_client_has_shown(name: &str) -> bool {
    let name = &*dashed(name);
    CERTIFICATE_FIELDS.iter().any(|field| field == name) || name.starts_with("x-client-cert-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field((name, value): (&'static str, &'static str)) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let rules = HeaderRules {
            remove: vec![HeaderName::from_static("server"), HeaderName::from_static("vary")],
            set: [("x-frame-options", "DENY"), ("x-new", "1")].map(field).into(),
            add: [("vary", "origin"), ("link", "</b>")].map(field).into(),
        };
        let sent = [
            ("server", "a"),
            ("server", "b"),
            ("vary", "accept"),
            ("x-frame-options", "SAMEORIGIN"),
            ("link", "</a>"),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in sent.map(field) {
            headers.append(name, value);
        }
        rules.apply(&mut headers);
        let mut seen: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        seen.sort_unstable();
        assert_eq!(
            seen,
            [
                ("link", "</a>"),
                ("link", "</b>"),
                ("vary", "origin"),
                ("x-frame-options", "DENY"),
                ("x-new", "1"),
            ]
        );
    }

    #[test]
    fn what_ends_a_message_or_is_of_one_connection_is_nobodys_to_change() {
        let refused =
            |kind: MessageKind, name| kind.refuses(&HeaderName::from_static(name)).is_some();
        for name in [
            "connection",
            "content-length",
            "host",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ] {
            assert!(refused(MessageKind::Request, name) && refused(MessageKind::Response, name));
        }
        for name in ["expect", "forwarded", "x-forwarded-for", "x-forwarded-user", "traceparent"] {
            assert!(refused(MessageKind::Request, name) && !refused(MessageKind::Response, name));
        }
        assert!(refused(MessageKind::Response, "date") && !refused(MessageKind::Request, "date"));
        for name in ["strict-transport-security", "authorization", "set-cookie", "vary", "server"] {
            assert!(!refused(MessageKind::Request, name) && !refused(MessageKind::Response, name));
        }
    }

    /// A route that set one of these told its guest of a certificate that no client had shown.
    #[test]
    fn operator_cannot_say_who_the_client_is_or_what_it_has_shown() {
        let refused =
            |kind: MessageKind, name| kind.refuses(&HeaderName::from_static(name)).is_some();
        for name in [
            "client-cert",
            "client-cert-chain",
            "x-client-cert-san",
            "x-client-cert-sha256",
            "x-client-cert-subject",
            "x-client-cert-verify",
            "x-real-ip",
            // CGI makes one name of both.
            "x_client_cert_subject",
            "x_real-ip",
        ] {
            assert!(refused(MessageKind::Request, name), "{name}");
            assert!(!refused(MessageKind::Response, name), "{name} tells a client nothing");
        }
        for name in ["client-certain", "x-client-cert", "x-client-id", "x-real-ip-of"] {
            assert!(!refused(MessageKind::Request, name), "{name}");
        }
    }
}
