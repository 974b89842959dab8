//! What is made of a response at the edge, between the guests and the client.

use std::sync::Arc;

use host_manifest::RouteHeaders;
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
    headers: Option<Arc<RouteHeaders>>,
}

impl Edge {
    /// What its route says, once that is known. The request is as its client has sent it, and has the headers of its
    /// route then.
    pub(super) fn set<B>(
        &mut self,
        pipeline: &Pipeline,
        request: &mut Request<B>,
        rate_limit: Option<RateLimitFields>,
    ) {
        self.compression = Compression::of(pipeline, request);
        self.rate_limit = rate_limit;
        self.set_headers(pipeline);
        if let Some(headers) = &self.headers {
            headers.request.apply(request.headers_mut());
        }
    }

    /// What its route says of headers, where no guest is to see the request.
    pub(super) fn set_headers(&mut self, pipeline: &Pipeline) {
        self.headers = pipeline.headers().cloned();
    }

    /// Makes the response what goes out.
    pub(super) fn apply(self, response: &mut Response<ResponseBody>) {
        if let Some(compression) = self.compression {
            compression.apply(response);
        }
        if let Some(fields) = self.rate_limit {
            fields.write(response.headers_mut());
        }
        // The operator's word is the last one.
        if let Some(headers) = self.headers {
            headers.response.apply(response.headers_mut());
        }
    }
}
