//! A route's responses, compressed for clients that take them so.

use host_compress::{Asked, Verdict};
use http::{Method, Request, Response};

use super::pipeline::Pipeline;
use super::response_body::ResponseBody;
use super::upload::declared_length;

/// What the response to one request may become. Taken before a guest has the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compression {
    asked: Asked,
    is_head: bool,
}

impl Compression {
    /// Of a request, if its route compresses.
    pub(super) fn of<B>(pipeline: &Pipeline, request: &Request<B>) -> Option<Self> {
        let config = pipeline.compress()?;
        let asked = Asked::of(request.headers(), config.with_credentials);
        Some(Self { asked, is_head: request.method() == Method::HEAD })
    }

    /// Makes the response what goes out.
    pub(super) fn apply(self, response: &mut Response<ResponseBody>) {
        // There is no body behind HEAD: the head says how long it would be.
        let length = match self.is_head {
            true => declared_length(response.headers()),
            false => response.body().length(),
        };
        let verdict = self.asked.verdict(response.status(), response.headers(), length);
        verdict.write(response.headers_mut());
        if let (Verdict::Compressed(coding), false) = (verdict, self.is_head) {
            response.body_mut().compress(coding);
        }
    }
}
