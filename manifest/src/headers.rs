//! Headers that a route sets, adds and removes.

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
            "connection" | "keep-alive" | "proxy-connection" | "te" | "upgrade" => {
                return Some("is of one connection, not of a message");
            }
            "host" => return Some("says which route a request takes, and has been read by then"),
            _ => {}
        }
        match self {
            Self::Request if name == "expect" => Some("is of one connection, not of a message"),
            Self::Request if name == "forwarded" || name.starts_with("x-forwarded-") => {
                Some("says who the client is, and the host writes it (docs/http.md)")
            }
            Self::Request if matches!(name, "host-hops" | "traceparent" | "tracestate") => {
                Some("is written by the host")
            }
            Self::Response if name == "date" => Some("is written by the host"),
            Self::Request | Self::Response => None,
        }
    }
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
}
