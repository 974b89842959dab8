//! Traps before any head.
//! Learnt from it: the answer is the host's own 500, and the next request is served.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(_: Request) -> Answer {
    core::arch::wasm32::unreachable()
}
