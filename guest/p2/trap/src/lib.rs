//! Traps before any head.
//! Learnt from it: the answer is the host's own 500, and the next request is served.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(_: Request, _: Reply) -> Done {
    core::arch::wasm32::unreachable()
}
