//! Labels of metrics: a fixed set of each, whatever clients send.

use http::{Method, Version};

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
