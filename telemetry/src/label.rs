//! Labels of metrics: a fixed set of each, whatever clients send.

use std::borrow::Cow;

use http::{Method, StatusCode, Version};

/// The method of a request. Those that are no standard ones are one label, as in OpenTelemetry's conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "their names say it")]
pub enum MethodLabel {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Patch,
    Options,
    Trace,
    Connect,
    /// Any other, or none that could be read.
    Other,
}

impl MethodLabel {
    /// The label's text.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
            Self::Other => "_OTHER",
        }
    }
}

impl From<Option<&Method>> for MethodLabel {
    fn from(method: Option<&Method>) -> Self {
        match method.map(Method::as_str) {
            Some("GET") => Self::Get,
            Some("HEAD") => Self::Head,
            Some("POST") => Self::Post,
            Some("PUT") => Self::Put,
            Some("DELETE") => Self::Delete,
            Some("PATCH") => Self::Patch,
            Some("OPTIONS") => Self::Options,
            Some("TRACE") => Self::Trace,
            Some("CONNECT") => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// The version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "their names say it")]
pub enum ProtocolLabel {
    Http10,
    Http11,
    Http2,
    /// None that could be read.
    Unknown,
}

impl ProtocolLabel {
    /// The version as OpenTelemetry's `network.protocol.version` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
            Self::Unknown => "unknown",
        }
    }
}

impl From<Option<Version>> for ProtocolLabel {
    fn from(version: Option<Version>) -> Self {
        match version {
            Some(Version::HTTP_10) => Self::Http10,
            Some(Version::HTTP_11) => Self::Http11,
            Some(Version::HTTP_2) => Self::Http2,
            _ => Self::Unknown,
        }
    }
}

/// The status that a client was told. Those that the standards do not have are one label for each class: a guest can
/// answer with any of 900, and may let its clients choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusLabel(
    /// The status; below 10 the class of one; 0 where nothing was told.
    u16,
);

impl StatusLabel {
    /// The label's text: `404`, `4xx`, or nothing.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        match self.0 {
            0 => "".into(),
            class @ 1..10 => format!("{class}xx").into(),
            status => status.to_string().into(),
        }
    }

    /// Whether it says that the server failed: 500 and above.
    #[must_use]
    pub fn is_server_error(self) -> bool {
        matches!(self.0, 5..10 | 500..)
    }
}

impl From<Option<StatusCode>> for StatusLabel {
    fn from(status: Option<StatusCode>) -> Self {
        Self(status.map_or(0, |status| match status.canonical_reason() {
            Some(_) => status.as_u16(),
            None => status.as_u16() / 100,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_guest_makes_more_statuses_than_the_standards_have() {
        let label = |status| StatusLabel::from(StatusCode::from_u16(status).ok());
        for (status, name, failed) in [
            (0, "", false),
            (200, "200", false),
            (299, "2xx", false),
            (404, "404", false),
            (499, "4xx", false),
            (503, "503", true),
            (599, "5xx", true),
            (999, "9xx", true),
        ] {
            let label = label(status);
            assert_eq!((&*label.name(), label.is_server_error()), (name, failed), "{status}");
        }
        let all: BTreeSet<_> = (100..1000).map(label).collect();
        assert!(all.len() < 75, "{} labels", all.len());
    }
}
