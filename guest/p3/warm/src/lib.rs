//! `on-start` computes a table for some 50 ms, prints a line and keeps what `wasi:config` answers for `said`. With
//! `hold` in its configuration it keeps a handle of the host too, with `work` it goes on behind its answer. `/` answers
//! what is in the table, and changes it.
//! Learnt from it: whether an instance began behind `on-start`, and whether one sees what another has written.

use std::mem;

use kit::stores::config;
use kit::wasip3::spawn_local;
use kit::{Answer, Request};

kit::serve!(handle);
kit::on_start!(on_start);

async fn on_start() -> Result<(), String> {
    let get = |name| config::get(name).ok().flatten();
    kit::warm_up(get("said").unwrap_or_default());
    if get("hold").is_some() {
        mem::forget(kit::fields(&[]));
    }
    if let Some(milliseconds) = get("work") {
        let milliseconds = milliseconds.parse().map_err(|_| "work is a number")?;
        spawn_local(kit::sleep(milliseconds));
    }
    kit::print("warm: on-start").await;
    Ok(())
}

async fn handle(_: Request) -> Answer {
    kit::answer(&kit::warm_line())
}
