//! The responses of the host itself: no other file builds one. What they say is in the table of
//! [`super::failure`].

use bytes::Bytes;
use host_telemetry::RequestId;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Response, StatusCode};

use super::account::Account;
use super::failure::{Failure, Row};
use super::response_body::ResponseBody;
use crate::date;

/// Methods that reach a guest, for the response to those that do not.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS";

/// The response to a request that has failed. It names the request, so that the log can be searched for it.
pub(super) fn error_response(failure: Failure, account: Option<Account>) -> Response<ResponseBody> {
    let Row { status, text, close } = failure.row();
    let mut response = answer(status, text, account);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CONTENT_LENGTH, text.len().into());
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(seconds) = failure.retry_after() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if failure == Failure::Method {
        headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    }
    response
}

fn answer(
    status: StatusCode,
    text: &'static str,
    mut account: Option<Account>,
) -> Response<ResponseBody> {
    let request_id = account.as_mut().map(|account| {
        account.answered(status);
        account.info.request_id.to_header()
    });
    let text = Bytes::from_static(text.as_bytes());
    let mut response = Response::new(ResponseBody::whole(text, account));
    *response.status_mut() = status;
    if let Some(request_id) = request_id {
        response.headers_mut().insert(RequestId::HEADER, request_id);
    }
    response
}

/// The same as bytes of HTTP/1, for a request that never became one.
pub(super) fn error_bytes(failure: Failure, request_id: &RequestId) -> Bytes {
    let Row { status, text, .. } = failure.row();
    let reason = status.canonical_reason().unwrap_or_default();
    let retry = failure
        .retry_after()
        .map(|seconds| format!("retry-after: {seconds}\r\n"))
        .unwrap_or_default();
    format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\
         connection: close\r\n{retry}date: {}\r\nx-request-id: {request_id}\r\n\r\n{text}",
        status.as_u16(),
        text.len(),
        date::now().to_str().unwrap_or_default()
    )
    .into()
}

/// The response to a method that no route is for, where there are routes for others (RFC 9110
/// §15.5.6).
pub(super) fn method_not_allowed(
    allowed: &[Method],
    account: Option<Account>,
) -> Response<ResponseBody> {
    let mut response = error_response(Failure::Method, account);
    let allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    if let Ok(allowed) = HeaderValue::try_from(allowed.join(", ")) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response.headers_mut().remove(CONNECTION);
    response
}

/// The response to `OPTIONS *`: asked of the server, not of any guest (RFC 9110 §9.3.7).
pub(super) fn server_options(account: Option<Account>) -> Response<ResponseBody> {
    let mut response = answer(StatusCode::NO_CONTENT, "", account);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_failure_that_passes_says_when_to_come_again() {
        let header = |failure, name| error_response(failure, None).headers().get(name).cloned();
        for (failure, seconds) in [
            (Failure::AtLimit, "1"),
            (Failure::Cut, "1"),
            (Failure::Retired, "1"),
            (Failure::put_aside(Duration::from_millis(6100)), "7"),
            (Failure::RateLimited { answer: StatusCode::TOO_MANY_REQUESTS, retry: 9 }, "9"),
        ] {
            assert_eq!(header(failure, RETRY_AFTER).unwrap(), seconds, "{failure:?}");
        }
        assert_eq!(header(Failure::Guest, RETRY_AFTER), None);
        assert_eq!(header(Failure::Cut, CONNECTION).unwrap(), "close");
        assert_eq!(header(Failure::AtLimit, CONNECTION), None);
    }

    #[test]
    fn the_bytes_are_a_whole_answer() {
        let id = RequestId::made(42);
        let bytes = error_bytes(Failure::HeadTooSlow, &id);
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
        assert!(text.contains("connection: close\r\n"));
        assert!(text.contains("\r\nx-request-id: 000000000000002a\r\n"));
        assert!(text.contains("\r\ncontent-length: 22\r\n"));
        assert!(text.ends_with("\r\n\r\nrequest head too slow\n"));
        // A server with a clock says when it answers, whatever the answer (RFC 9110 §6.6.1).
        let date = text.split_once("\r\ndate: ").and_then(|(_, rest)| rest.split_once("\r\n"));
        let date = httpdate::parse_http_date(date.unwrap().0).unwrap();
        assert!(date.elapsed().unwrap() < Duration::from_secs(60));
        assert!(
            error_bytes(Failure::AtLimit, &id).windows(16).any(|it| it == b"retry-after: 1\r\n")
        );
    }
}
