//! A whole component with every hook: it counts the requests that come to its instance and says
//! at the end how many there were. `/stop` asks the process to stop.
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use exports::host::lifecycle::{on_drain, on_shutdown, on_start};
use host::lifecycle::control;
use wasip2::http::types::*;

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package example:tally;
        world tally {
            include host:lifecycle/imports-p2@0.1.0;
            export host:lifecycle/on-start@0.1.0;
            export host:lifecycle/on-drain@0.1.0;
            export host:lifecycle/on-shutdown@0.1.0;
        }
    ",
    world: "example:tally/tally",
    generate_all,
    with: { "wasi:io/poll@0.2.12": wasip2::io::poll },
});

static REQUESTS: AtomicU64 = AtomicU64::new(0);

struct Tally;

impl on_start::Guest for Tally {
    /// An `Err` with a text refuses the component, or fails this one request.
    fn on_start() -> Result<(), String> {
        log(&format!("an instance of {} starts", control::generation()));
        Ok(())
    }
}

impl on_drain::Guest for Tally {
    fn on_drain(milliseconds_left: u64) {
        log(&format!("no more requests, {milliseconds_left} ms left"));
    }
}

impl on_shutdown::Guest for Tally {
    fn on_shutdown(milliseconds_left: u64) {
        let requests = REQUESTS.load(Relaxed);
        log(&format!("{requests} requests, {milliseconds_left} ms to say so"));
    }
}

impl wasip2::exports::http::incoming_handler::Guest for Tally {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let requests = REQUESTS.fetch_add(1, Relaxed) + 1;
        if request.path_with_query().as_deref() == Some("/stop") {
            control::request_shutdown("a client asked for it");
        }
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let _ = match control::deadline() {
            Some(left) => writeln!(body.write().unwrap(), "request {requests}, {left} ms left"),
            None => writeln!(body.write().unwrap(), "request {requests}"),
        };
        let _ = OutgoingBody::finish(body, None);
    }
}

fn log(line: &str) {
    let _ = writeln!(wasip2::cli::stderr::get_stderr(), "{line}");
}

wasip2::http::proxy::export!(Tally);
export!(Tally);
