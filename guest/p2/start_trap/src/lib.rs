//! `on-start` traps.
//! Learnt from it: a component that breaks down at its start is refused when it is loaded.

use kit::{Done, Reply, Request};

kit::serve!(handle);
kit::on_start!(on_start);

fn on_start() -> Result<(), String> {
    core::arch::wasm32::unreachable()
}

fn handle(_: Request, reply: Reply) -> Done {
    reply.answer("ok\n")
}
