//! Messages of 0.3 that have nothing but fields yet.

use kit::types::{Fields, Request, Response};
use kit::wasip3::wit_future;

pub fn new_request(fields: Fields) -> Request {
    let (_, trailers) = wit_future::new(|| Ok(None));
    Request::new(fields, None, trailers, None).0
}

pub fn new_response(fields: Fields) -> Response {
    let (_, trailers) = wit_future::new(|| Ok(None));
    Response::new(fields, None, trailers).0
}
