//! A whole plugin: gives each request an id, hides what the application runs on, and adds the
//! security headers that the application has not set itself. Bodies go by without coming in here.
use wasi::http::handler::handle as next;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::random::random::get_random_u64;
use wasip3::wit_future;

wit_bindgen::generate!({
    path: "../../wit",
    world: "next",
    with: {
        "wasi:clocks/types@0.3.0": wasip3::clocks::types,
        "wasi:http/types@0.3.0": wasip3::http::types,
        "wasi:http/handler@0.3.0": generate,
    },
});

const ID: &str = "x-request-id";
const SECURITY: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
];

struct Headers;

impl wasip3::exports::http::handler::Guest for Headers {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        // What came in cannot be changed, but a copy of it can.
        let headers = request.get_headers().clone();
        let id =
            headers.get(ID).pop().unwrap_or_else(|| format!("{:016x}", get_random_u64()).into());
        set(&headers, ID, &id)?;
        let response = next(request_with(request, headers)).await?;

        let headers = response.get_headers().clone();
        set(&headers, ID, &id)?;
        let _ = headers.delete("server");
        for (name, value) in SECURITY {
            if !headers.has(name) {
                set(&headers, name, value.as_bytes())?;
            }
        }
        Ok(response_with(response, headers))
    }
}

/// Fails where the headers would become more than the host takes, which a client can bring about: so
/// it is an error that says so, and no panic.
fn set(headers: &Fields, name: &str, value: &[u8]) -> Result<(), ErrorCode> {
    headers.set(name, &[value.into()]).map_err(|_| ErrorCode::HttpRequestHeaderSectionSize(None))
}

/// The same request with other headers: body and trailers are handed over as they are.
fn request_with(old: Request, headers: Fields) -> Request {
    let (method, scheme) = (old.get_method(), old.get_scheme());
    let (authority, path) = (old.get_authority(), old.get_path_with_query());
    let options = old.get_options();
    let (_, read) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(old, read);
    let (new, _) = Request::new(headers, Some(body), trailers, options);
    new.set_method(&method).unwrap();
    new.set_scheme(scheme.as_ref()).unwrap();
    new.set_authority(authority.as_deref()).unwrap();
    new.set_path_with_query(path.as_deref()).unwrap();
    new
}

/// The same response with other headers.
fn response_with(old: Response, headers: Fields) -> Response {
    let status = old.get_status_code();
    let (_, read) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(old, read);
    let (new, _) = Response::new(headers, Some(body), trailers);
    // Guests of 0.2 may give codes that 0.3 has no word for.
    if new.set_status_code(status).is_err() {
        new.set_status_code(502).unwrap();
    }
    new
}

wasip3::http::service::export!(Headers);
