//! The one table of failures: what the peer is told, with which status.
//!
//! The text is fixed and tells nothing of the guest; the log has the cause. (Heads that hyper
//! cannot parse at all it answers itself, with an empty 400, 414 or 431.)

use std::time::Duration;

use http::StatusCode;

use crate::component::{CutReason, GuestFailure};

/// Why a request gets an answer of the host's instead of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// RFC 9112 §3.2, RFC 9110 §7.2 and friends.
    Malformed(&'static str),
    /// TRACE and CONNECT are not for guests (RFC 9110 §9.3.6, §9.3.8).
    Method,
    /// It is longer than any method that there is (RFC 9112 §3).
    MethodTooLong,
    /// The head is larger than allowed.
    HeadTooLarge,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The head did not arrive in time.
    HeadTooSlow,
    /// No byte of the body arrived for too long.
    BodyTooSlow,
    /// The guest trapped, or returned without a response.
    Guest,
    /// The guest used up its time.
    GuestTooSlow,
    /// It is part of a request of a host within a request of a host, too many deep.
    Loop,
    /// No route leads anywhere.
    NoRoute,
    /// A plugin of the chain trapped, or returned without a response.
    Plugin,
    /// Behind a plugin for egress, the network gives no response.
    Network,
    /// The same, in time.
    NetworkTooSlow,
    /// The same, because the request may not go there.
    NetworkDenied,
    /// Too many instances or too long a queue.
    AtLimit,
    /// Its component keeps failing: seconds until it gets another chance.
    PutAside(u32),
    /// Its client sends more than its route takes: with which status that is answered, and seconds until it may send
    /// one more.
    RateLimited { answer: StatusCode, retry: u32 },
    /// Its client has as many connections as one may have: seconds until it may try again.
    ClientConnections(u32),
    /// Its client opens connections faster than one may: seconds until it may try again.
    ClientConnectionRate(u32),
    /// The stop cut it.
    Cut,
    /// Its generation was replaced, and its time was up.
    Retired,
    /// The peer has gone, and reads no response.
    PeerGone,
}

/// One row of the table.
pub(super) struct Row {
    pub(super) status: StatusCode,
    pub(super) text: &'static str,
    /// Whether the connection ends with the response.
    pub(super) close: bool,
}

/// Seconds: long enough for the burst to pass, short enough for a person to wait.
const RETRY: u32 = 1;

impl Failure {
    /// What the peer is told.
    pub(super) fn row(self) -> Row {
        let (status, text, close) = match self {
            Self::Malformed(text) => (StatusCode::BAD_REQUEST, text, true),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n", true),
            Self::MethodTooLong => (StatusCode::NOT_IMPLEMENTED, "method not implemented\n", true),
            Self::HeadTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "request head too large\n", true)
            }
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n", true),
            Self::HeadTooSlow => (StatusCode::REQUEST_TIMEOUT, "request head too slow\n", true),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "request body too slow\n", true),
            Self::Guest => (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n", false),
            Self::GuestTooSlow => (StatusCode::GATEWAY_TIMEOUT, "took too long\n", false),
            Self::Loop => (StatusCode::LOOP_DETECTED, "request goes in circles\n", false),
            Self::NoRoute => (StatusCode::NOT_FOUND, "not found\n", false),
            Self::Plugin => (StatusCode::BAD_GATEWAY, "bad gateway\n", false),
            Self::Network => (StatusCode::BAD_GATEWAY, "no response from there\n", false),
            Self::NetworkTooSlow => (StatusCode::GATEWAY_TIMEOUT, "took too long\n", false),
            Self::NetworkDenied => (StatusCode::FORBIDDEN, "not granted\n", false),
            Self::PutAside(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "out of service for a while\n", false)
            }
            Self::RateLimited { answer, .. } => (answer, "too many requests\n", false),
            Self::ClientConnections(_) | Self::ClientConnectionRate(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "too many connections\n", true)
            }
            Self::AtLimit => (StatusCode::SERVICE_UNAVAILABLE, "too busy\n", false),
            Self::Cut => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n", true),
            Self::Retired => (StatusCode::SERVICE_UNAVAILABLE, "replaced; try again\n", false),
            Self::PeerGone => (StatusCode::BAD_REQUEST, "request body broken off\n", true),
        };
        Row { status, text, close }
    }

    /// Its component is put aside for so long.
    pub(super) fn put_aside(left: Duration) -> Self {
        Self::PutAside(whole_seconds(left))
    }

    /// Its client has too many connections, and may try again after this.
    pub(super) fn client_connections(retry: Duration) -> Self {
        Self::ClientConnections(whole_seconds(retry))
    }

    /// Its client opens connections too fast, and may try again after this.
    pub(super) fn client_connection_rate(retry: Duration) -> Self {
        Self::ClientConnectionRate(whole_seconds(retry))
    }

    /// The status that the peer sees.
    pub(super) fn status(self) -> StatusCode {
        self.row().status
    }

    /// The word for it in logs and metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Method => "method",
            Self::MethodTooLong => "method-too-long",
            Self::HeadTooLarge => "head-too-large",
            Self::BodyTooLarge => "body-too-large",
            Self::HeadTooSlow => "head-too-slow",
            Self::BodyTooSlow => "body-too-slow",
            Self::Guest => "guest",
            Self::GuestTooSlow => "guest-too-slow",
            Self::Loop => "loop",
            Self::NoRoute => "no-route",
            Self::Plugin => "plugin",
            Self::Network => "network",
            Self::NetworkTooSlow => "network-too-slow",
            Self::NetworkDenied => "network-denied",
            Self::AtLimit => "at-limit",
            Self::PutAside(_) => "put-aside",
            Self::RateLimited { .. } => "rate-limited",
            Self::ClientConnections(_) => "client-connections",
            Self::ClientConnectionRate(_) => "client-connection-rate",
            Self::Cut => "stopping",
            Self::Retired => "retired",
            Self::PeerGone => "peer-gone",
        }
    }

    /// Seconds after which the peer may try again, where that may help.
    pub(super) fn retry_after(self) -> Option<u32> {
        match self {
            Self::PutAside(seconds)
            | Self::ClientConnections(seconds)
            | Self::ClientConnectionRate(seconds)
            | Self::RateLimited { retry: seconds, .. } => Some(seconds),
            _ => (self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY),
        }
    }
}

/// Rounded up: a client that comes back then is not too early.
pub(super) fn whole_seconds(time: Duration) -> u32 {
    let seconds = time.as_secs().saturating_add((time.subsec_nanos() > 0).into());
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

impl From<&GuestFailure> for Failure {
    fn from(why: &GuestFailure) -> Self {
        match why {
            GuestFailure::CpuTime(_)
            | GuestFailure::StartTooSlow(_)
            | GuestFailure::HookTooSlow(..) => Self::GuestTooSlow,
            GuestFailure::PoolFull | GuestFailure::NoMemory(_) | GuestFailure::NoCode(_) => {
                Self::AtLimit
            }
            _ => Self::Guest,
        }
    }
}

impl From<CutReason> for Failure {
    fn from(why: CutReason) -> Self {
        match why {
            CutReason::Stop => Self::Cut,
            CutReason::Retired => Self::Retired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_design() {
        for (failure, status) in [
            (Failure::Malformed("x"), 400),
            (Failure::Method, 405),
            (Failure::MethodTooLong, 501),
            (Failure::HeadTooLarge, 431),
            (Failure::BodyTooLarge, 413),
            (Failure::HeadTooSlow, 408),
            (Failure::BodyTooSlow, 408),
            (Failure::Guest, 500),
            (Failure::GuestTooSlow, 504),
            (Failure::Loop, 508),
            (Failure::NoRoute, 404),
            (Failure::Plugin, 502),
            (Failure::Network, 502),
            (Failure::NetworkTooSlow, 504),
            (Failure::NetworkDenied, 403),
            (Failure::PutAside(7), 503),
            (Failure::AtLimit, 503),
            (Failure::RateLimited { answer: StatusCode::TOO_MANY_REQUESTS, retry: 7 }, 429),
            (Failure::RateLimited { answer: StatusCode::SERVICE_UNAVAILABLE, retry: 7 }, 503),
            (Failure::ClientConnections(1), 429),
            (Failure::ClientConnectionRate(1), 429),
            (Failure::Cut, 503),
            (Failure::Retired, 503),
            (Failure::PeerGone, 400),
        ] {
            assert_eq!(failure.status(), status, "{failure:?}");
        }
    }
}
