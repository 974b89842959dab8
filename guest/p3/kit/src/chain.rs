//! Passing a request on to the next of its chain. The bodies are handed over as they are: no byte
//! of them comes into the guest.

use wasip3::http::types::{Fields, Request, Response};

use crate::{Answer, well};

mod imports {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "next",
        with: {
            "wasi:clocks/types@0.3.0": wasip3::clocks::types,
            "wasi:http/types@0.3.0": wasip3::http::types,
            "wasi:http/handler@0.3.0": generate,
        },
    });
}

pub use imports::wasi::http::handler::handle as next;

/// Passes on the request with these headers, and its answer with what `edit` makes of the answer's.
pub async fn pass(
    request: Request,
    headers: Fields,
    edit: impl FnOnce(Fields) -> Fields,
) -> Answer {
    let answer = next(with_headers(request, headers)).await?;
    let headers = edit(answer.get_headers().clone());
    Ok(answer_with_headers(answer, headers))
}

/// The same request with other headers. Those that it came with cannot be changed.
pub fn with_headers(request: Request, headers: Fields) -> Request {
    let parts = (request.get_method(), request.get_scheme(), request.get_authority());
    let (method, scheme, authority) = parts;
    let (path, options) = (request.get_path_with_query(), request.get_options());
    let (body, trailers) = Request::consume_body(request, well());
    let (request, _) = Request::new(headers, Some(body), trailers, options);
    request
        .set_method(&method)
        .and_then(|()| request.set_scheme(scheme.as_ref()))
        .and_then(|()| request.set_authority(authority.as_deref()))
        .and_then(|()| request.set_path_with_query(path.as_deref()))
        .expect("they were good before");
    request
}

/// The same answer with other headers.
pub fn answer_with_headers(answer: Response, headers: Fields) -> Response {
    let status = answer.get_status_code();
    let (body, trailers) = Response::consume_body(answer, well());
    let (answer, _) = Response::new(headers, Some(body), trailers);
    answer.set_status_code(status).expect("it was good before");
    answer
}
