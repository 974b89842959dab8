//! Messages of 0.2 that have nothing but fields yet.

use kit::types::{Fields, OutgoingRequest, OutgoingResponse};

pub fn new_request(fields: Fields) -> OutgoingRequest {
    OutgoingRequest::new(fields)
}

pub fn new_response(fields: Fields) -> OutgoingResponse {
    OutgoingResponse::new(fields)
}
