//! Sending a request out: to a server, or to the next of the chain.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingRequest, Scheme,
};

use crate::{Incoming, Outgoing};

/// Where a request goes. Owns nothing of the guest's own request.
#[derive(Debug)]
pub struct To {
    pub method: Method,
    pub scheme: Scheme,
    pub authority: String,
    pub path: Option<String>,
}

/// The head of a request, from parts that make one.
pub fn request(to: &To, headers: Fields) -> Result<OutgoingRequest, ErrorCode> {
    let request = OutgoingRequest::new(headers);
    request
        .set_method(&to.method)
        .and_then(|()| request.set_scheme(Some(&to.scheme)))
        .and_then(|()| request.set_authority(Some(&to.authority)))
        .and_then(|()| request.set_path_with_query(to.path.as_deref()))
        .map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    Ok(request)
}

/// Sends the head at once. The body is written by and by; dropping it unfinished breaks the
/// request off. An error is the host's refusal, or a part that makes no request.
pub fn send(to: &To, headers: Fields) -> Result<(Outgoing, FutureIncomingResponse), ErrorCode> {
    let request = request(to, headers)?;
    let body = request.body().expect("body taken once");
    let stream = body.write().expect("stream taken once");
    let answer = outgoing_handler::handle(request, None)?;
    Ok((Outgoing { stream, body }, answer))
}

/// The answer's head, if it is there; taken once.
pub fn ready(answer: &FutureIncomingResponse) -> Option<Result<IncomingResponse, ErrorCode>> {
    Some(answer.get()?.expect("taken once"))
}

/// Waits for the answer's head.
pub fn wait(answer: &FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    answer.subscribe().block();
    ready(answer).expect("ready")
}

/// The body of an answer. May be asked for once.
pub fn body(answer: &IncomingResponse) -> Incoming {
    Incoming::new(answer.consume().expect("body taken once"))
}

/// The method of this name.
pub fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        other => Method::Other(other.into()),
    }
}
