//! Answers `ok`; `on-shutdown` never returns, and never calls the host.
//! Learnt from it: last words have a deadline, and no answer waits for them.

use kit::{Answer, Request};

kit::serve!(handle);
kit::on_shutdown!(on_shutdown);

async fn on_shutdown(_: u64) {
    kit::spin()
}

async fn handle(_: Request) -> Answer {
    kit::answer("ok\n")
}
