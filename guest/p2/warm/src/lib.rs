//! `on-start` computes a table for some 50 ms, prints a line and keeps what `wasi:config` answers for `said`. With
//! `hold` in its configuration it keeps a handle of the host too. `/` answers what is in the table, and changes it.
//! Learnt from it: whether an instance began behind `on-start`, and whether one sees what another has written.

use std::mem;

use kit::stores::config;
use kit::{Done, Reply, Request};

kit::serve!(handle);
kit::on_start!(on_start);

fn on_start() -> Result<(), String> {
    let get = |name| config::get(name).ok().flatten();
    kit::warm_up(get("said").unwrap_or_default());
    if get("hold").is_some() {
        mem::forget(kit::fields(&[]));
    }
    kit::print("warm: on-start");
    Ok(())
}

fn handle(_: Request, reply: Reply) -> Done {
    reply.answer(&kit::warm_line())
}
