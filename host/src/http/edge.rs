//! What is made of a response at the edge, between the guests and the client.

use http::{Request, Response};

use super::compression::Compression;
use super::pipeline::Pipeline;
use super::rate_limit::RateLimitFields;
use super::response_body::ResponseBody;

/// What is to be made of the response to one request. Nothing, unless its route says something.
#[derive(Debug, Default)]
pub(super) struct Edge {
    compression: Option<Compression>,
    rate_limit: Option<RateLimitFields>,
}

impl Edge {
    /// What its route says, once that is known. The request is as its client has sent it.
    pub(super) fn set<B>(
        &mut self,
        pipeline: &Pipeline,
        request: &Request<B>,
        rate_limit: Option<RateLimitFields>,
    ) {
        *self = Self { compression: Compression::of(pipeline, request), rate_limit };
    }

    /// Makes the response what goes out.
    pub(super) fn apply(self, response: &mut Response<ResponseBody>) {
        if let Some(compression) = self.compression {
            compression.apply(response);
        }
        if let Some(fields) = self.rate_limit {
            fields.write(response.headers_mut());
        }
    }
}
