//! What can become of a request.

use std::fmt;

use serde::Serialize;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Its whole response came.
    Answered,
    /// The server has not begun with it, and the client knows. It may be sent again, whatever its method.
    Refused(RefusedBy),
    /// Neither.
    Lost(LossKind),
}

/// How the client knows that the server has not begun with its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedBy {
    /// There was no connection.
    Connect,
    /// The TLS handshake failed or ended, so that no byte of a request could be sent.
    Handshake,
    /// A new connection was closed before a byte of its first request was sent.
    Closed,
    /// It was pipelined behind a request whose response said `Connection: close` (RFC 9112, section 9.6).
    Told,
    /// The last stream that GOAWAY names is below it (RFC 9113, section 6.8), or GOAWAY came before it was sent.
    Goaway,
    /// `REFUSED_STREAM` (RFC 9113, section 8.7).
    Stream,
}

/// How a request was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// At least a byte of it was sent, and the connection ended in order without a byte of a response.
    Eof,
    /// The same, by a reset. Over HTTP/2 also a stream that was reset, but by `REFUSED_STREAM`.
    Reset,
    /// The response began and did not end, whether by FIN or by a reset.
    Truncated,
    /// The status was 5xx. `Retry-After` does not help: whoever sent the request has no answer, and a 503
    /// does not say whether it was begun.
    #[serde(rename = "5xx")]
    ServerError,
    /// The status is not the one that the first request of this kind of client got, or no right one to begin with.
    Status,
    /// More bytes came than one response has. A request that this befell is not counted as answered.
    Twice,
    /// What came is not HTTP.
    Malformed,
    /// There was no whole response in time.
    Timeout,
}

/// Where a stop was when a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// It ended before the trigger.
    Before,
    /// It was under way at the trigger, or was sent after it, while the port took connections.
    Stop,
    /// It was sent after a connect had been refused, so on a connection from before.
    After,
}

impl LossKind {
    /// Whether the client may repeat an idempotent request of its own accord, if its connection has ended: no byte of
    /// a response had come (RFC 9110, section 9.2.2; RFC 9112, section 9.3.1).
    #[must_use]
    pub const fn is_repeatable(self) -> bool {
        matches!(self, Self::Eof | Self::Reset)
    }
}

impl fmt::Display for RefusedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Closed => "closed",
            Self::Told => "told",
            Self::Goaway => "goaway",
            Self::Stream => "stream",
        })
    }
}

impl fmt::Display for LossKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Eof => "eof",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::ServerError => "5xx",
            Self::Status => "status",
            Self::Twice => "twice",
            Self::Malformed => "malformed",
            Self::Timeout => "timeout",
        })
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Before => "before",
            Self::Stop => "stop",
            Self::After => "after",
        })
    }
}
