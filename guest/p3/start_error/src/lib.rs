//! `on-start` fails with a text.
//! Learnt from it: a component that says it cannot serve is refused when it is loaded.

use kit::{Answer, Request};

kit::serve!(handle);
kit::on_start!(on_start);

async fn on_start() -> Result<(), String> {
    Err("no database".into())
}

async fn handle(_: Request) -> Answer {
    kit::answer("ok\n")
}
