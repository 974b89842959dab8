//! `on-start` fails with a text.
//! Learnt from it: a component that says it cannot serve is refused when it is loaded.

use kit::{Done, Reply, Request};

kit::serve!(handle);
kit::on_start!(on_start);

fn on_start() -> Result<(), String> {
    Err("no database".into())
}

fn handle(_: Request, reply: Reply) -> Done {
    reply.answer("ok\n")
}
