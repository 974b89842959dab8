//! A whole component: server-sent events, one `data: N` a second or every `?ms=`. When a drain
//! begins, the answer ends behind an event, and the client connects anew: to the next process.
use host::lifecycle::drain_pollable::subscribe_drain;
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::types::*;
use wasip2::io::{poll::poll, streams::StreamError};

wit_bindgen::generate!({
    path: "../../../wit",
    world: "imports-p2",
    with: { "wasi:io/poll@0.2.12": wasip2::io::poll },
});

struct Events;

impl wasip2::exports::http::incoming_handler::Guest for Events {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let headers = [("content-type".into(), b"text/event-stream".into())];
        let response = OutgoingResponse::new(Fields::from_list(&headers).unwrap());
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        if send(&body, interval(&path)).is_ok() {
            let _ = OutgoingBody::finish(body, None);
        }
    }
}

/// Sends until a drain begins. An error is a client that has gone.
fn send(body: &OutgoingBody, nanoseconds: u64) -> Result<(), StreamError> {
    let stream = body.write().unwrap();
    let drain = subscribe_drain();
    let mut number = 0;
    loop {
        number += 1;
        stream.blocking_write_and_flush(format!("data: {number}\n\n").as_bytes())?;
        poll(&[&subscribe_duration(nanoseconds), &drain]);
        if drain.ready() {
            return Ok(());
        }
    }
}

fn interval(path: &str) -> u64 {
    let milliseconds = path.split_once("?ms=").and_then(|(_, number)| number.parse().ok());
    milliseconds.unwrap_or(1000) * 1_000_000
}

wasip2::http::proxy::export!(Events);
