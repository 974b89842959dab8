//! A plugin: refuses requests without the header `x-tenant`, passes the others on, and gives the answers
//! the header `x-plugin`. With WASI 0.2 it moves the bodies itself: `relay.rs`.
mod relay;

use std::io::Write;

use relay::{Relay, wait};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest,
    OutgoingResponse, ResponseOutparam, Scheme,
};

struct Plugin;

impl wasip2::exports::http::incoming_handler::Guest for Plugin {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if !request.headers().has("x-tenant") {
            return refuse(out);
        }
        if let Err((out, error)) = pass_on(&request, out) {
            ResponseOutparam::set(out, Err(error));
        }
    }
}

fn refuse(out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(400).expect("400 is a status");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    // A client that has gone away takes nothing any more, and that is all right.
    let _ = body
        .write()
        .expect("the stream is taken once")
        .write_all(b"this needs the header x-tenant\n");
    let _ = OutgoingBody::finish(body, None);
}

/// Asks the next component of the chain, as if it were a server under the name `next.host`.
fn pass_on(
    request: &IncomingRequest,
    out: ResponseOutparam,
) -> Result<(), (ResponseOutparam, ErrorCode)> {
    let onward = match request_like(request) {
        Ok(onward) => onward,
        Err(()) => return Err((out, ErrorCode::InternalError(None))),
    };
    let mut upload = Relay::new(
        request.consume().expect("the body is taken once"),
        onward.body().expect("the body is taken once"),
    );
    let answer = match ask(onward, &mut upload) {
        Ok(answer) => answer,
        Err(error) => return Err((out, error)),
    };
    let headers = answer.headers().clone();
    if headers.set("x-plugin", &[b"{{name}}".into()]).is_err() {
        return Err((out, ErrorCode::HttpResponseHeaderSectionSize(None)));
    }
    let response = OutgoingResponse::new(headers);
    response
        .set_status_code(answer.status())
        .expect("a status that came is one");
    let mut download = Relay::new(
        answer.consume().expect("the body is taken once"),
        response.body().expect("the body is taken once"),
    );
    ResponseOutparam::set(out, Ok(response));
    while !(upload.is_over() && download.is_over()) {
        upload.advance();
        download.advance();
        wait([upload.waits_for(), download.waits_for()]);
    }
    Ok(())
}

fn request_like(request: &IncomingRequest) -> Result<OutgoingRequest, ()> {
    let onward = OutgoingRequest::new(request.headers().clone());
    onward.set_method(&request.method())?;
    onward.set_path_with_query(request.path_with_query().as_deref())?;
    onward.set_scheme(Some(&Scheme::Http))?;
    onward.set_authority(Some("next.host"))?;
    Ok(onward)
}

/// The head of the answer. It may come before the request's body is at its end.
fn ask(onward: OutgoingRequest, upload: &mut Relay) -> Result<IncomingResponse, ErrorCode> {
    let answer = outgoing_handler::handle(onward, None)?;
    loop {
        if let Some(head) = answer.get() {
            return head.expect("it is got once");
        }
        upload.advance();
        wait([Some(answer.subscribe()), upload.waits_for()]);
    }
}

wasip2::http::proxy::export!(Plugin);
