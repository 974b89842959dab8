//! A whole component: answers `hello from PATH`.
use std::io::Write;
use wasip2::http::types::*;

struct Greet;

impl wasip2::exports::http::incoming_handler::Guest for Greet {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let text = format!("hello from {path}\n");
        let _ = body.write().unwrap().write_all(text.as_bytes());
        let _ = OutgoingBody::finish(body, None);
    }
}

wasip2::http::proxy::export!(Greet);
