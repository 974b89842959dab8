//! A whole component: server-sent events, one `data: N` a second or every `?ms=`. When a drain
//! begins, the answer ends behind an event, and the client connects anew: to the next process.
use std::pin::pin;

use futures::future::{Either, select};
use host::lifecycle::drain_async::drain_begun;
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::wit_bindgen::StreamWriter;
use wasip3::{spawn_local, wit_future, wit_stream};

wit_bindgen::generate!({ path: "../../../wit", world: "imports-p3" });

struct Events;

impl wasip3::exports::http::handler::Guest for Events {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let headers = [("content-type".into(), b"text/event-stream".into())];
        let (body, contents) = wit_stream::new();
        let (_, trailers) = wit_future::new(|| Ok(None));
        spawn_local(send(body, interval(&path)));
        Ok(Response::new(Fields::from_list(&headers).unwrap(), Some(contents), trailers).0)
    }
}

/// Sends until a drain begins or the client has gone.
async fn send(mut body: StreamWriter<u8>, nanoseconds: u64) {
    let mut drain = pin!(drain_begun());
    let mut number = 0;
    loop {
        number += 1;
        let left = body.write_all(format!("data: {number}\n\n").into_bytes()).await;
        let pause = pin!(wait_for(nanoseconds));
        if !left.is_empty() || matches!(select(drain.as_mut(), pause).await, Either::Left(_)) {
            break;
        }
    }
}

fn interval(path: &str) -> u64 {
    let milliseconds = path.split_once("?ms=").and_then(|(_, number)| number.parse().ok());
    milliseconds.unwrap_or(1000) * 1_000_000
}

wasip3::http::service::export!(Events);
