//! Exports every hook and prints a line for each call. `/` answers what the instance knows of
//! itself, `/hold` streams until a drain begins, `/shutdown` asks the process to stop.
//! Learnt from it: which hook is called when, how often, and with how much time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use kit::lifecycle::{control, drain_begun};
use kit::{Answer, Request};

kit::serve!(handle);
kit::on_start!(on_start);
kit::on_drain!(on_drain);
kit::on_shutdown!(on_shutdown);

static STARTED: AtomicBool = AtomicBool::new(false);
static REQUESTS: AtomicU64 = AtomicU64::new(0);

async fn on_start() -> Result<(), String> {
    STARTED.store(true, Relaxed);
    kit::print("hooks: on-start").await;
    Ok(())
}

async fn on_drain(milliseconds_left: u64) {
    kit::print(&format!("hooks: on-drain {milliseconds_left}")).await;
}

async fn on_shutdown(milliseconds_left: u64) {
    kit::print(&format!("hooks: on-shutdown {milliseconds_left}")).await;
}

async fn handle(request: Request) -> Answer {
    let requests = REQUESTS.fetch_add(1, Relaxed) + 1;
    match request.path() {
        "/hold" => hold(),
        "/shutdown" => {
            control::request_shutdown("asked over http");
            kit::answer(&"x".repeat(64 << 10))
        }
        _ => kit::answer(&format!(
            "started={} {} generation={} requests={requests}\n",
            STARTED.load(Relaxed),
            life(),
            control::generation(),
        )),
    }
}

fn hold() -> Answer {
    kit::stream(kit::fields(&[]), async |mut body| {
        body.write("held\n").await?;
        drain_begun().await;
        body.write(format!("drained {}\n", life())).await?;
        body.finish().await
    })
}

fn life() -> String {
    kit::life(control::draining(), control::deadline())
}
