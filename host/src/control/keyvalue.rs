//! Key-value for operators: from a request to what the process is asked, and its answer.

use std::pin::Pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Response, StatusCode};
use serde::Serialize;

use super::rejection::Rejection;
use super::reply::{self, ReplyBody};
use super::request_body::parse;
use super::routes::KeyValueRoute;
use super::schema::{
    BucketName, KeyList, KeyRequest, KeyValue, KeyWritten, KeysRequest, SetRequest,
};

/// Bytes of a value that an operator sets: as many as a guest may.
pub const LARGEST_VALUE: usize = 8 << 20;

/// Bytes of a body with such a value: base64, and the rest.
pub(super) const LARGEST_SET: usize = LARGEST_VALUE / 3 * 4 + 64 * 1024;

/// What an operator asks of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketOperation {
    /// A page of keys with a prefix.
    List {
        /// Of all if it is empty.
        prefix: String,
        /// Of the page before.
        cursor: Option<String>,
        /// Keys at most.
        limit: Option<u32>,
    },
    /// The value of a key.
    Get(String),
    /// Sets the value of a key, for a time or for good.
    Set(String, Vec<u8>, Option<Duration>),
    /// Removes a key, if it is there.
    Delete(String),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketAnswer {
    /// A page.
    Keys(KeyList),
    /// The value.
    Value(Vec<u8>),
    /// It is done.
    Written(KeyWritten),
}

/// Why nothing came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketRefusal {
    /// There is no such component, bucket or key.
    Missing(String),
    /// The store refuses it or fails, or nothing is served yet.
    Refused(String),
}

/// An operation under way. It is carried out to its end even if the client has left.
pub type BucketFuture = Pin<Box<dyn Future<Output = Result<BucketAnswer, BucketRefusal>> + Send>>;

/// What is asked of which bucket.
pub(super) fn asked(
    route: KeyValueRoute,
    body: &[u8],
) -> Result<(BucketName, BucketOperation), Rejection> {
    Ok(match route {
        KeyValueRoute::List => {
            let KeysRequest { component, bucket, prefix, cursor, limit } = parse(body)?;
            let list = BucketOperation::List { prefix, cursor, limit };
            (BucketName { component, bucket }, list)
        }
        KeyValueRoute::Get => {
            let KeyRequest { component, bucket, key } = parse(body)?;
            (BucketName { component, bucket }, BucketOperation::Get(key))
        }
        KeyValueRoute::Delete => {
            let KeyRequest { component, bucket, key } = parse(body)?;
            (BucketName { component, bucket }, BucketOperation::Delete(key))
        }
        KeyValueRoute::Set => {
            let SetRequest { component, bucket, key, value_base64, ttl_ms } = parse(body)?;
            let value = STANDARD.decode(value_base64).map_err(|why| {
                Rejection::new(StatusCode::BAD_REQUEST, format!("value_base64: {why}"))
            })?;
            if value.len() > LARGEST_VALUE {
                let error = format!("a value has at most {LARGEST_VALUE} bytes");
                return Err(Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, error));
            }
            let ttl = ttl_ms.map(Duration::from_millis);
            (BucketName { component, bucket }, BucketOperation::Set(key, value, ttl))
        }
    })
}

/// As it goes over the socket.
pub(super) fn reply(
    answer: Result<BucketAnswer, BucketRefusal>,
) -> Result<Response<ReplyBody>, Rejection> {
    fn ok(value: &impl Serialize) -> Response<ReplyBody> {
        reply::json(StatusCode::OK, value)
    }
    match answer {
        Ok(BucketAnswer::Keys(keys)) => Ok(ok(&keys)),
        Ok(BucketAnswer::Value(value)) => {
            Ok(ok(&KeyValue { value_base64: STANDARD.encode(value) }))
        }
        Ok(BucketAnswer::Written(written)) => Ok(ok(&written)),
        Err(BucketRefusal::Missing(error)) => Err(Rejection::new(StatusCode::NOT_FOUND, error)),
        Err(BucketRefusal::Refused(error)) => {
            Err(Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, error))
        }
    }
}
