//! Sleeps `?ms=N` by the monotonic clock, then answers.
//! Learnt from it: a guest that waits costs no thread, and a limit on the time to the head holds.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    kit::sleep(request.number("ms", 0)).await;
    kit::answer("slept\n")
}
