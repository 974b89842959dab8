//! What is made of a response at the edge, between the guests and the client.

use std::sync::Arc;

use host_compress::EncoderBudget;
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

    /// Makes the response what goes out. `encoders`: what compressing may take.
    pub(super) fn apply(self, response: &mut Response<ResponseBody>, encoders: &EncoderBudget) {
        if let Some(fields) = self.rate_limit {
            fields.write(response.headers_mut());
        }
        // The operator's word stands over that of guests and of the host,
        if let Some(headers) = self.headers {
            headers.response.apply(response.headers_mut());
        }
        // but for what is true of the bytes that go out: compression heeds it, and speaks last.
        if let Some(compression) = self.compression {
            compression.apply(response, encoders);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use host_manifest::HeaderRules;
    use http::{HeaderName, HeaderValue, Request};

    use super::*;

    /// What goes out of a page of a guest, on a route that compresses and sets these fields.
    fn answer(set: &[(&'static str, &'static str)]) -> Response<ResponseBody> {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let set = set.iter().map(field).collect();
        let response = HeaderRules { set, ..HeaderRules::default() };
        let headers = RouteHeaders { response, ..RouteHeaders::default() };
        let request = Request::get("/").header("accept-encoding", "gzip").body(()).unwrap();
        let compression = Some(Compression::new(&request, false));
        let edge = Edge { compression, rate_limit: None, headers: Some(Arc::new(headers)) };
        let page =
            Response::builder().header("content-type", "text/plain").header("vary", "cookie");
        let body = ResponseBody::whole(Bytes::from(vec![b'a'; 4096]), None);
        let mut response = page.body(body).unwrap();
        edge.apply(&mut response, &EncoderBudget::new(1 << 20));
        response
    }

    /// The operator's fields came last: `vary = "origin"` had a cache give gzip to a client that takes none, and what
    /// the operator said of secrets and of caches was not heard.
    #[test]
    fn what_the_operator_sets_is_heeded_by_compression_and_does_not_undo_what_it_says() {
        let told = |response: &Response<ResponseBody>, name: &str| -> Vec<String> {
            let values = response.headers().get_all(name).iter();
            values.map(|value| value.to_str().unwrap().to_owned()).collect()
        };
        let response = answer(&[("vary", "origin"), ("etag", "\"v1\"")]);
        assert_eq!(told(&response, "vary"), ["origin", "accept-encoding"]);
        assert_eq!(told(&response, "content-encoding"), ["gzip"]);
        assert_eq!(told(&response, "etag"), ["W/\"v1\""]);
        for (set, vary) in [
            (("cache-control", "no-transform"), &["cookie"][..]),
            (("content-type", "image/png"), &["cookie"]),
            (("set-cookie", "session=1"), &["cookie", "accept-encoding"]),
        ] {
            let response = answer(&[set]);
            assert!(told(&response, "content-encoding").is_empty(), "{set:?}");
            assert_eq!(told(&response, "vary"), vary, "{set:?}");
            assert_eq!(response.body().length(), Some(4096), "{set:?}");
        }
    }
}
