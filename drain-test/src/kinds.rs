//! The kinds of clients.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// What a client does with its connection. Each stop needs another care for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientKind {
    /// HTTP/1.1, one request after the other on one connection.
    H1Kept,
    /// HTTP/1.1, a connection for each request. Every other request asks to close it.
    H1Fresh,
    /// HTTP/1.1, several requests in one write.
    H1Pipelined,
    /// HTTP/1.1, a body in pieces, with `Content-Length` and chunked in turn.
    H1Upload,
    /// HTTP/1.1, a response that is read slowly.
    H1Stream,
    /// HTTP/2, several streams at a time on one connection.
    H2Kept,
    /// HTTP/2, a connection for each request.
    H2Fresh,
}

impl ClientKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::H1Kept,
        Self::H1Fresh,
        Self::H1Pipelined,
        Self::H1Upload,
        Self::H1Stream,
        Self::H2Kept,
        Self::H2Fresh,
    ];

    /// Those of HTTP/1.
    pub const HTTP1: [Self; 5] =
        [Self::H1Kept, Self::H1Fresh, Self::H1Pipelined, Self::H1Upload, Self::H1Stream];

    /// Those of HTTP/2.
    pub const HTTP2: [Self; 2] = [Self::H2Kept, Self::H2Fresh];

    /// Its name on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::H1Kept => "h1-kept",
            Self::H1Fresh => "h1-fresh",
            Self::H1Pipelined => "h1-pipelined",
            Self::H1Upload => "h1-upload",
            Self::H1Stream => "h1-stream",
            Self::H2Kept => "h2-kept",
            Self::H2Fresh => "h2-fresh",
        }
    }

    /// Whether its requests are of a method that may be repeated (RFC 9110, section 9.2.2).
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::H1Upload)
    }

    /// Whether it speaks HTTP/2.
    #[must_use]
    pub const fn is_http2(self) -> bool {
        matches!(self, Self::H2Kept | Self::H2Fresh)
    }
}

impl fmt::Display for ClientKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ClientKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no kind of client is called {name:?}; there are {names}")
        })
    }
}
