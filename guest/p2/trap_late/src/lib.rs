//! Head and the chunk `first`, then a trap: at once, or on `/gate` when the request body has ended.
//! Learnt from it: a response broken in its middle cannot be taken for a whole one.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let mut answer = reply.send(200, kit::fields(&[]));
    answer.write("first\n")?;
    match request.path() {
        "/gate" => drop(request.body().count()?),
        // The host runs on while we sleep, so the chunk is out before the trap.
        _ => kit::sleep(1),
    }
    core::arch::wasm32::unreachable()
}
