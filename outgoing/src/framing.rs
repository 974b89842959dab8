//! Where the body of a request ends on the wire: what is written of that into its head.
//!
//! | the guest's body | a length of the guest's | POST, PUT, PATCH | other methods |
//! |---|---|---|---|
//! | none, or no byte in it | none | `content-length: 0` | nothing |
//! | none, or no byte in it | 0 | `content-length: 0` | `content-length: 0` |
//! | none, or no byte in it | more | refused | refused |
//! | whole before the head goes out | none | its length | its length |
//! | streamed | none | chunks; in HTTP/2 an end of its own | the same |
//! | any | as long as the body | that length | that length |
//! | shorter or longer than that | | broken, and the guest is told | the same |
//!
//! hyper would drop a body of GET and HEAD that has no length (hyper 1.12, `proto/h1/role.rs`).

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method};

use crate::SendError;
use crate::replay::Shape;

/// Writes the framing of a body of this shape into a head that has none but, perhaps, the guest's
/// length. Of no effect in HTTP/2: hyper takes the fields of HTTP/1 out.
pub(crate) fn write(
    method: &Method,
    headers: &mut HeaderMap,
    declared: Option<u64>,
    shape: Shape,
) -> Result<(), SendError> {
    // RFC 9110 §9.3.8.
    if *method == Method::TRACE && shape != Shape::Empty {
        return Err(SendError::Header("a TRACE has no body"));
    }
    match (declared, shape) {
        // hyper would send the length, no byte, and the next request over the same connection, which
        // the server would take for this body.
        (Some(said @ 1..), Shape::Empty) => return Err(SendError::BodyLength { said, bytes: 0 }),
        (Some(said), Shape::Whole(bytes)) if said != bytes => {
            return Err(SendError::BodyLength { said, bytes });
        }
        (Some(_), _) => {}
        (None, Shape::Empty) if !expects_content(method) => {}
        (None, Shape::Empty) => insert_length(headers, 0),
        (None, Shape::Whole(bytes)) => insert_length(headers, bytes),
        (None, Shape::Streamed) => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    Ok(())
}

/// Methods whose servers wait for content, or ask for a length if there is none (RFC 9110 §8.6).
fn expects_content(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

fn insert_length(headers: &mut HeaderMap, bytes: u64) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
}
