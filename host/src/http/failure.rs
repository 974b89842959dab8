//! The one table of failures: nobody else builds an error response.
//!
//! The text is fixed and tells nothing of the guest; the log has the cause. (Heads that hyper
//! cannot parse at all it answers itself, with an empty 400, 414 or 431.)

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use super::answer::Answer;
use crate::component::GuestFailure;

/// Why a request gets an answer of the host's instead of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// RFC 9112 §3.2, RFC 9110 §7.2 and friends.
    Malformed(&'static str),
    /// TRACE and CONNECT are not for guests (RFC 9110 §9.3.6, §9.3.8).
    Method,
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
    /// Too many instances or too long a queue.
    AtLimit,
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
            Self::HeadTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "request head too large\n", true)
            }
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n", true),
            Self::HeadTooSlow => (StatusCode::REQUEST_TIMEOUT, "request head too slow\n", true),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "request body too slow\n", true),
            Self::Guest => (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n", false),
            Self::GuestTooSlow => (StatusCode::GATEWAY_TIMEOUT, "took too long\n", false),
            Self::AtLimit => (StatusCode::SERVICE_UNAVAILABLE, "too busy\n", false),
            Self::Cut => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n", true),
            Self::Retired => (StatusCode::SERVICE_UNAVAILABLE, "replaced; try again\n", false),
            Self::PeerGone => (StatusCode::BAD_REQUEST, "request body broken off\n", true),
        };
        Row { status, text, close }
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
        if status == StatusCode::SERVICE_UNAVAILABLE {
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
             connection: close\r\n{retry}\r\n{text}",
            status.as_u16(),
            text.len()
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
            GuestFailure::PoolFull => Self::AtLimit,
            _ => Self::Guest,
        }
    }
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
            (Failure::HeadTooLarge, 431),
            (Failure::BodyTooLarge, 413),
            (Failure::HeadTooSlow, 408),
            (Failure::BodyTooSlow, 408),
            (Failure::Guest, 500),
            (Failure::GuestTooSlow, 504),
            (Failure::AtLimit, 503),
            (Failure::Cut, 503),
            (Failure::Retired, 503),
        ] {
            assert_eq!(failure.response().status(), status, "{failure:?}");
        }
        assert_eq!(Failure::AtLimit.response().headers()[RETRY_AFTER], "1");
        assert_eq!(Failure::Retired.response().headers()[RETRY_AFTER], "1");
        assert_eq!(Failure::Cut.response().headers()[CONNECTION], "close");
    }

    #[test]
    fn the_bytes_are_a_whole_answer() {
        let bytes = Failure::HeadTooSlow.bytes();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
        assert!(text.contains("connection: close\r\n"));
        assert!(
            text.ends_with(
                "content-length: 22\r\nconnection: close\r\n\r\nrequest head too slow\n"
            )
        );
    }
}
