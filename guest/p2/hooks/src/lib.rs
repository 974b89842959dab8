//! Exports every hook and prints a line for each call. `/` answers what the instance knows of
//! itself, `/hold` streams until a drain begins, `/shutdown` asks the process to stop.
//! Learnt from it: which hook is called when, how often, and with how much time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use kit::lifecycle::{control, drain_begun};
use kit::{Done, Reply, Request};

kit::serve!(handle);
kit::on_start!(on_start);
kit::on_drain!(on_drain);
kit::on_shutdown!(on_shutdown);

static STARTED: AtomicBool = AtomicBool::new(false);
static REQUESTS: AtomicU64 = AtomicU64::new(0);

fn on_start() -> Result<(), String> {
    STARTED.store(true, Relaxed);
    kit::print("hooks: on-start");
    Ok(())
}

fn on_drain(milliseconds_left: u64) {
    kit::print(&format!("hooks: on-drain {milliseconds_left}"));
}

fn on_shutdown(milliseconds_left: u64) {
    kit::print(&format!("hooks: on-shutdown {milliseconds_left}"));
}

fn handle(request: Request, reply: Reply) -> Done {
    let requests = REQUESTS.fetch_add(1, Relaxed) + 1;
    match request.path() {
        "/hold" => hold(reply),
        "/shutdown" => {
            control::request_shutdown("asked over http");
            reply.answer(&"x".repeat(64 << 10))
        }
        _ => reply.answer(&format!(
            "started={} {} generation={} requests={requests}\n",
            STARTED.load(Relaxed),
            life(),
            control::generation(),
        )),
    }
}

fn hold(reply: Reply) -> Done {
    let mut body = reply.send(200, kit::fields(&[]));
    body.write("held\n")?;
    drain_begun();
    body.write(format!("drained {}\n", life()))?;
    body.finish()
}

fn life() -> String {
    kit::life(control::draining(), control::deadline())
}
