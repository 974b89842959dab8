//! Answers 500 to everything.
//! Learnt from it: a smoke request refuses a component that loads well and serves badly.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(_: Request, reply: Reply) -> Done {
    let mut body = reply.send(500, kit::fields(&[]));
    body.write("broken\n")?;
    body.finish()
}
