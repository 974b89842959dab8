//! Answers `ok`; `on-shutdown` never returns, and never calls the host.
//! Learnt from it: last words have a deadline, and no answer waits for them.

use kit::{Done, Reply, Request};

kit::serve!(handle);
kit::on_shutdown!(on_shutdown);

fn on_shutdown(_: u64) {
    kit::spin()
}

fn handle(_: Request, reply: Reply) -> Done {
    reply.answer("ok\n")
}
