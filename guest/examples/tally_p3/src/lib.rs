//! A whole component with every hook: it counts the requests that come to its instance and says
//! at the end how many there were. `/stop` asks the process to stop.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use exports::host::lifecycle::{on_drain_async, on_shutdown_async, on_start_async};
use host::lifecycle::control;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package example:tally;
        world tally {
            include host:lifecycle/imports-p3@0.1.0;
            export host:lifecycle/on-start-async@0.1.0;
            export host:lifecycle/on-drain-async@0.1.0;
            export host:lifecycle/on-shutdown-async@0.1.0;
        }
    ",
    world: "example:tally/tally",
    generate_all,
});

static REQUESTS: AtomicU64 = AtomicU64::new(0);

struct Tally;

impl on_start_async::Guest for Tally {
    /// An `Err` with a text refuses the component, or fails this one request.
    async fn on_start() -> Result<(), String> {
        log(format!("an instance of {} starts", control::generation())).await;
        Ok(())
    }
}

impl on_drain_async::Guest for Tally {
    async fn on_drain(milliseconds_left: u64) {
        log(format!("no more requests, {milliseconds_left} ms left")).await;
    }
}

impl on_shutdown_async::Guest for Tally {
    async fn on_shutdown(milliseconds_left: u64) {
        let requests = REQUESTS.load(Relaxed);
        log(format!("{requests} requests, {milliseconds_left} ms to say so")).await;
    }
}

impl wasip3::exports::http::handler::Guest for Tally {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let requests = REQUESTS.fetch_add(1, Relaxed) + 1;
        if request.get_path_with_query().as_deref() == Some("/stop") {
            control::request_shutdown("a client asked for it");
        }
        let text = match control::deadline() {
            Some(left) => format!("request {requests}, {left} ms left\n"),
            None => format!("request {requests}\n"),
        };
        let (mut body, contents) = wit_stream::new();
        let (_, trailers) = wit_future::new(|| Ok(None));
        spawn_local(async move {
            body.write_all(text.into_bytes()).await;
        });
        Ok(Response::new(Fields::new(), Some(contents), trailers).0)
    }
}

async fn log(line: String) {
    let (mut stderr, bytes) = wit_stream::new();
    let written = wasip3::cli::stderr::write_via_stream(bytes);
    stderr.write_all(format!("{line}\n").into_bytes()).await;
    drop(stderr);
    let _ = written.await;
}

wasip3::http::service::export!(Tally);
export!(Tally);
