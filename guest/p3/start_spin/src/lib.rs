//! `on-start` never returns, and never calls the host.
//! Learnt from it: a start has a deadline.

use kit::{Answer, Request};

kit::serve!(handle);
kit::on_start!(on_start);

async fn on_start() -> Result<(), String> {
    kit::spin()
}

async fn handle(_: Request) -> Answer {
    kit::answer("ok\n")
}
