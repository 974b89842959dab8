//! Requests with bodies of each kind.

use kit::types::{ErrorCode, OutgoingBody, OutgoingRequest};
use kit::wasip2::http::outgoing_handler::handle;
use kit::{Request, client};

use crate::fetch;

pub fn upload(request: &Request) -> Result<String, String> {
    let to = fetch::to(request.text("url").ok_or("no url")?, request.text("method"))?;
    let headers: Vec<_> =
        request.text("length").map(|it| ("content-length", it)).into_iter().collect();
    let outgoing = client::request(&to, kit::fields(&headers)).map_err(kit::case)?;
    let kind = request.text("body").ok_or("no body")?;
    Ok(format!("{}\n", send(outgoing, kind).map_err(kit::case)?))
}

fn send(request: OutgoingRequest, kind: &str) -> Result<u16, ErrorCode> {
    if kind == "none" {
        return client::wait(&handle(request, None)?).map(|answer| answer.status());
    }
    let body = request.body().expect("body taken once");
    let before = ["empty", "short"].contains(&kind);
    let (mut request, mut answer) = (Some(request), None);
    if !before {
        answer = request.take().map(|request| handle(request, None)).transpose()?;
    }
    let pieces: &[&str] = match kind {
        "short" => &["hello"],
        "streamed" => &["hello", ", world"],
        _ => &[],
    };
    write(&body, pieces);
    // Who wrote what the length does not say is told here, if not by the answer.
    let finished = OutgoingBody::finish(body, None);
    if let Some(request) = request {
        answer = Some(handle(request, None)?);
    }
    let answered = client::wait(&answer.expect("it is sent by now"));
    finished?;
    answered.map(|answer| answer.status())
}

/// An error is of a server that has gone, or of too many bytes: both are told at the end.
fn write(body: &OutgoingBody, pieces: &[&str]) {
    let stream = body.write().expect("stream taken once");
    for piece in pieces {
        let _ = stream.blocking_write_and_flush(piece.as_bytes());
    }
}
