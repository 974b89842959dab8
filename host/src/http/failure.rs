//! The one table of failures: nobody else builds an error response.
//!
//! The text is fixed and tells nothing of the guest; the log has the cause. (Heads that hyper
//! cannot parse at all it answers itself, with an empty 400, 414 or 431.)

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Response, StatusCode};

use super::answer::Answer;
use crate::component::{CutReason, GuestFailure};
use crate::date;

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
    /// Too many instances or too long a queue.
    AtLimit,
    /// Its component keeps failing: seconds until it gets another chance.
    PutAside(u32),
    /// The stop cut it.
    Cut,
    /// Its generation was replaced, and its time was up.
    Retired,
    /// The peer has gone: nobody is there to read the answer.
    PeerGone,
}

/// One row of the table.
struct Row {
    status: StatusCode,
    text: &'static str,
    close: bool,
}

/// Methods that reach a guest, for the answer to those that do not.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS";

/// Seconds: long enough for the burst to pass, short enough for a person to wait.
const RETRY: HeaderValue = HeaderValue::from_static("1");

impl Failure {
    fn row(self) -> Row {
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
            Self::PutAside(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "out of service for a while\n", false)
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
        // Rounded up: who comes back then finds it there.
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Self::PutAside(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// The same, when it is a plugin that has failed: to its peer the host is a gateway
    /// (RFC 9110 §15.6.3).
    pub(super) fn of_plugin(self) -> Self {
        if self == Self::Guest { Self::Plugin } else { self }
    }

    /// Whether the component cannot serve; not the peer, nor a stop.
    pub(super) fn is_of_the_component(self) -> bool {
        matches!(
            self,
            Self::Guest
                | Self::Plugin
                | Self::GuestTooSlow
                | Self::AtLimit
                | Self::PutAside(_)
                | Self::NoRoute
        )
    }

    /// The status that the peer sees.
    pub(super) fn status(self) -> StatusCode {
        self.row().status
    }

    /// The answer.
    pub(super) fn response(self) -> Response<Answer> {
        let Row { status, text, close } = self.row();
        let mut response = Response::new(Answer::fixed(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(CONTENT_LENGTH, text.len().into());
        if close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Self::PutAside(seconds) = self {
            headers.insert(RETRY_AFTER, seconds.into());
        } else if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY);
        }
        if self == Self::Method {
            headers.insert(ALLOW, HeaderValue::from_static(METHODS));
        }
        response
    }

    /// The same as bytes of HTTP/1, for a request that never became one.
    pub(super) fn bytes(self) -> Bytes {
        let Row { status, text, .. } = self.row();
        let reason = status.canonical_reason().unwrap_or_default();
        let retry =
            if status == StatusCode::SERVICE_UNAVAILABLE { "retry-after: 1\r\n" } else { "" };
        format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\
             connection: close\r\n{retry}date: {}\r\n\r\n{text}",
            status.as_u16(),
            text.len(),
            date::now().to_str().unwrap_or_default()
        )
        .into()
    }
}

impl From<&GuestFailure> for Failure {
    fn from(why: &GuestFailure) -> Self {
        match why {
            GuestFailure::CpuTime(_)
            | GuestFailure::StartTooSlow
            | GuestFailure::HookTooSlow(..) => Self::GuestTooSlow,
            GuestFailure::PoolFull | GuestFailure::NoMemory => Self::AtLimit,
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

/// The answer to a method that no route is for, where there are routes for others (RFC 9110
/// §15.5.6).
pub(super) fn other_methods(allowed: &[Method]) -> Response<Answer> {
    let mut response = Failure::Method.response();
    let allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    if let Ok(allowed) = HeaderValue::try_from(allowed.join(", ")) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response.headers_mut().remove(CONNECTION);
    response
}

/// The answer to `OPTIONS *`: asked of the server, not of any guest (RFC 9110 §9.3.7).
pub(super) fn server_options() -> Response<Answer> {
    let mut response = Response::new(Answer::fixed(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
    response
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
            (Failure::PutAside(7), 503),
            (Failure::AtLimit, 503),
            (Failure::Cut, 503),
            (Failure::Retired, 503),
        ] {
            assert_eq!(failure.response().status(), status, "{failure:?}");
        }
        assert_eq!(Failure::AtLimit.response().headers()[RETRY_AFTER], "1");
        assert_eq!(Failure::Retired.response().headers()[RETRY_AFTER], "1");
        assert_eq!(
            Failure::put_aside(Duration::from_millis(6100)).response().headers()[RETRY_AFTER],
            "7"
        );
        assert_eq!(Failure::Cut.response().headers()[CONNECTION], "close");
    }

    #[test]
    fn the_bytes_are_a_whole_answer() {
        let bytes = Failure::HeadTooSlow.bytes();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
        assert!(text.contains("connection: close\r\n"));
        assert!(text.contains("\r\ncontent-length: 22\r\n"));
        assert!(text.ends_with("\r\n\r\nrequest head too slow\n"));
        // A server with a clock says when it answers, whatever the answer (RFC 9110 §6.6.1).
        let date = text.split_once("\r\ndate: ").and_then(|(_, rest)| rest.split_once("\r\n"));
        let date = httpdate::parse_http_date(date.unwrap().0).unwrap();
        assert!(date.elapsed().unwrap() < Duration::from_secs(60));
    }
}
