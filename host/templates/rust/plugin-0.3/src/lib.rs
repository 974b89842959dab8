//! A plugin: refuses requests without the header `x-tenant`, passes the others on, and gives the answers
//! the header `x-plugin`. Bodies go by without coming in here.
use wasi::http0_3_0::handler::handle as next;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

wit_bindgen::generate!({
    path: "wit",
    world: "guest",
    with: {
        "wasi:clocks/types@0.3.0": wasip3::clocks::types,
        "wasi:http/types@0.3.0": wasip3::http::types,
        "wasi:http/handler@0.3.0": generate,
    },
});

struct Plugin;

impl wasip3::exports::http::handler::Guest for Plugin {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        if !request.get_headers().has("x-tenant") {
            return Ok(refusal());
        }
        let response = next(request).await?;
        // The headers of a response that came cannot be changed, but a copy of them can.
        let headers = response.get_headers().clone();
        headers
            .set("x-plugin", &[b"{{name}}".into()])
            .map_err(|_| ErrorCode::HttpResponseHeaderSectionSize(None))?;
        Ok(with_headers(response, headers))
    }
}

fn refusal() -> Response {
    let (mut body, contents) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    spawn_local(async move {
        body.write_all(b"this needs the header x-tenant\n".into())
            .await;
    });
    let (response, _) = Response::new(Fields::new(), Some(contents), trailers);
    response.set_status_code(400).expect("400 is a status");
    response
}

/// The same response with other headers: its body and its trailers are handed over as they are.
fn with_headers(old: Response, headers: Fields) -> Response {
    let status = old.get_status_code();
    let (_, read) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(old, read);
    let (new, _) = Response::new(headers, Some(body), trailers);
    // Components of 0.2 may give codes that 0.3 has no word for.
    if new.set_status_code(status).is_err() {
        new.set_status_code(502).expect("502 is a status");
    }
    new
}

wasip3::http::service::export!(Plugin);
