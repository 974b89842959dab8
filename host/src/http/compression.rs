//! A route's responses, compressed for clients that take them so.

use host_compress::{Asked, EncoderBudget, Verdict};
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
        Some(Self::new(request, config.with_credentials))
    }

    pub(super) fn new<B>(request: &Request<B>, with_credentials: bool) -> Self {
        let asked = Asked::of(request.headers(), with_credentials);
        Self { asked, is_head: request.method() == Method::HEAD }
    }

    /// Makes the response what goes out: plain where `encoders` have no room for one more.
    pub(super) fn apply(self, response: &mut Response<ResponseBody>, encoders: &EncoderBudget) {
        // There is no body behind HEAD: the head says how long it would be.
        let length = match self.is_head {
            true => declared_length(response.headers()),
            false => response.body().length(),
        };
        let verdict = self.asked.verdict(response.status(), response.headers(), length);
        let (verdict, place) = match verdict {
            Verdict::Compressed(coding) => match encoders.take(coding) {
                Some(place) => (verdict, Some(place)),
                // The next client may get it compressed.
                None => (Verdict::Varies, None),
            },
            verdict => (verdict, None),
        };
        verdict.write(response.headers_mut());
        if let (Some(place), false) = (place, self.is_head) {
            response.body_mut().compress(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use host_compress::ContentCoding;

    use super::*;

    /// The response to a request that takes gzip, of a page that is too large to be compressed at once.
    fn answer(encoders: &EncoderBudget, is_head: bool) -> Response<ResponseBody> {
        let method = if is_head { Method::HEAD } else { Method::GET };
        let request = Request::builder().method(method).header("accept-encoding", "gzip");
        let request = request.body(()).unwrap();
        let page =
            Response::builder().header("content-type", "text/plain").header("etag", "\"v1\"");
        let page = page.header("content-length", "100000");
        let body = Bytes::from(vec![b'a'; if is_head { 0 } else { 100_000 }]);
        let mut response = page.body(ResponseBody::whole(body, None)).unwrap();
        Compression::new(&request, false).apply(&mut response, encoders);
        response
    }

    #[track_caller]
    fn expect(response: &Response<ResponseBody>, coding: Option<&str>, etag: &str) {
        let told = |name| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!((told("content-encoding"), told("etag")), (coding, Some(etag)));
        assert_eq!(told("vary"), Some("accept-encoding"));
    }

    /// Each response took a MiB for as long as its client liked, and only exchanges were counted.
    #[test]
    fn a_response_for_whose_encoder_there_is_no_room_goes_plain_and_another_may_have_its_place() {
        let encoders = EncoderBudget::new(1 << 20);
        let (plain, weak) = ("\"v1\"", "W/\"v1\"");
        let mut held: Vec<_> = (0..3).map(|_| answer(&encoders, false)).collect();
        held.iter().for_each(|response| expect(response, Some("gzip"), weak));
        let more = answer(&encoders, false);
        expect(&more, None, plain);
        assert_eq!(more.body().length(), Some(100_000));
        // HEAD says what GET would say now.
        expect(&answer(&encoders, true), None, plain);
        held.pop();
        expect(&answer(&encoders, true), Some("gzip"), weak);
        expect(&answer(&encoders, false), Some("gzip"), weak);
        assert!(encoders.take(ContentCoding::Gzip).is_some(), "all that is over has given it back");
    }
}
