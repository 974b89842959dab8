//! `on-start` never returns, and never calls the host.
//! Learnt from it: a start has a deadline.

use kit::{Done, Reply, Request};

kit::serve!(handle);
kit::on_start!(on_start);

fn on_start() -> Result<(), String> {
    kit::spin()
}

fn handle(_: Request, reply: Reply) -> Done {
    reply.answer("ok\n")
}
