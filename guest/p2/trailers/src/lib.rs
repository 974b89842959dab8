//! A body with the announced trailer `x-sum: 42` after it.
//! Learnt from it: response trailers reach the peer.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(_: Request, reply: Reply) -> Done {
    let mut answer = reply.send(200, kit::fields(&[("trailer", "x-sum")]));
    answer.write("with trailers\n")?;
    answer.finish_with(Some(kit::fields(&[("x-sum", "42")])))
}
