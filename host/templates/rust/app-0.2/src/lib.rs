//! Answers `hello from PATH`, and `/api/time` with JSON.
use std::io::Write;

use wasip2::clocks::wall_clock;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct App;

impl wasip2::exports::http::incoming_handler::Guest for App {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/api/time" => {
                let seconds = wall_clock::now().seconds;
                answer(
                    out,
                    "application/json",
                    &format!("{{\"unix\": {seconds}}}\n"),
                );
            }
            _ => answer(out, "text/plain", &format!("hello from {path}\n")),
        }
    }
}

fn answer(out: ResponseOutparam, content_type: &str, text: &str) {
    let headers = [("content-type".to_owned(), content_type.into())];
    let headers = Fields::from_list(&headers).expect("a header that is well-formed");
    let response = OutgoingResponse::new(headers);
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    // A client that has gone away takes nothing any more, and that is all right.
    let _ = body
        .write()
        .expect("the stream is taken once")
        .write_all(text.as_bytes());
    let _ = OutgoingBody::finish(body, None);
}

wasip2::http::proxy::export!(App);
