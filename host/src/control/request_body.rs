//! What comes with a request: bounded, and JSON.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::deadlines::REQUEST_IN;
use super::rejection::Rejection;

/// The whole body, within its bounds. The rest of a body that is refused is not read, so its connection
/// ends.
pub(super) async fn body(request: Request<Incoming>, largest: usize) -> Result<Bytes, Rejection> {
    let whole = Limited::new(request.into_body(), largest).collect();
    let (status, error) = match timeout(REQUEST_IN, whole).await {
        Ok(Ok(body)) => return Ok(body.to_bytes()),
        Ok(Err(why)) if why.is::<LengthLimitError>() => {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {largest} bytes"))
        }
        Ok(Err(why)) => (StatusCode::BAD_REQUEST, format!("the body is broken: {why}")),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, format!("a body comes within {REQUEST_IN:?}")),
    };
    Err(Rejection { last: true, ..Rejection::new(status, error) })
}

/// The body as what it is to be; none at all counts as `{}`.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejection> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body.trim_ascii() };
    // serde takes a list for a struct.
    if body.first() != Some(&b'{') {
        return Err(Rejection::new(StatusCode::BAD_REQUEST, "the body must be a JSON object"));
    }
    serde_json::from_slice(body)
        .map_err(|why| Rejection::new(StatusCode::BAD_REQUEST, format!("the body: {why}")))
}
