//! Messages taken apart and put together. Bodies are handed over: no byte of them comes in here.

use wasip3::http::types::{Method, RequestOptions, Scheme};
use wasip3::wit_bindgen::{FutureReader, StreamReader};
use wasip3::{spawn_local, wit_future, wit_stream};

use crate::{ErrorCode, Fields, Request, Response};

/// What comes after a body, or how it broke off.
pub type Trailers = FutureReader<Result<Option<Fields>, ErrorCode>>;

/// A request that came in cannot be changed, but another can be made of its parts.
pub struct Parts {
    pub method: Method,
    scheme: Option<Scheme>,
    authority: Option<String>,
    pub path: Option<String>,
    /// A copy, to be changed.
    pub headers: Fields,
    options: Option<RequestOptions>,
    pub body: StreamReader<u8>,
    pub trailers: Trailers,
}

impl Parts {
    pub fn of(request: Request) -> Self {
        let method = request.get_method();
        let (scheme, authority) = (request.get_scheme(), request.get_authority());
        let (path, options) = (request.get_path_with_query(), request.get_options());
        let headers = request.get_headers().clone();
        let (_, read) = wit_future::new(|| Ok(()));
        let (body, trailers) = Request::consume_body(request, read);
        Self { method, scheme, authority, path, headers, options, body, trailers }
    }

    pub fn whole(self) -> Result<Request, ErrorCode> {
        let (request, _) = Request::new(self.headers, Some(self.body), self.trailers, self.options);
        request
            .set_method(&self.method)
            .and_then(|()| request.set_scheme(self.scheme.as_ref()))
            .and_then(|()| request.set_authority(self.authority.as_deref()))
            .and_then(|()| request.set_path_with_query(self.path.as_deref()))
            .map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
        Ok(request)
    }
}

/// The same response with other headers.
pub fn response_with(old: Response, headers: Fields) -> Response {
    let code = old.get_status_code();
    let (_, read) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(old, read);
    let (new, _) = Response::new(headers, Some(body), trailers);
    // Guests of 0.2 may give codes that 0.3 has no word for.
    match new.set_status_code(code) {
        Ok(()) => new,
        Err(()) => status(502, Fields::new()),
    }
}

/// A response without a body.
pub fn status(code: u16, headers: Fields) -> Response {
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(headers, None, trailers);
    // All codes of ours are good ones.
    let _ = response.set_status_code(code);
    response
}

/// A response with this text.
pub fn text(code: u16, fields: &[(&str, &str)], kind: &str, text: String) -> Response {
    let bytes = text.into_bytes();
    let length = bytes.len().to_string();
    let headers = Fields::new();
    for (name, value) in fields.iter().chain(&[("content-type", kind), ("content-length", &length)])
    {
        // Names and values of ours are good ones.
        let _ = headers.append(name, value.as_bytes());
    }
    let (mut body, contents) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    spawn_local(async move {
        body.write_all(bytes).await;
    });
    let (response, _) = Response::new(headers, Some(contents), trailers);
    let _ = response.set_status_code(code);
    response
}
