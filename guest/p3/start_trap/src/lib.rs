//! `on-start` traps.
//! Learnt from it: a component that breaks down at its start is refused when it is loaded.

use kit::{Answer, Request};

kit::serve!(handle);
kit::on_start!(on_start);

async fn on_start() -> Result<(), String> {
    core::arch::wasm32::unreachable()
}

async fn handle(_: Request) -> Answer {
    kit::answer("ok\n")
}
