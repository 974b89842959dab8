//! Sleeps `?ms=N` by the monotonic clock, then answers.
//! Learnt from it: a guest that waits costs no thread, and a limit on the time to the head holds.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    kit::sleep(request.number("ms", 0));
    reply.answer("slept\n")
}
