//! Takes and touches memory, 1 MiB at a time, up to `?mib=N`, and tells how far it came. On `/abort`
//! it takes a refusal as most guests do: it traps.
//! Learnt from it: the memory limit holds, and a guest at its limit hurts itself alone.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let mib = request.number("mib", 4096);
    match kit::eat(mib) {
        Ok(()) => reply.answer(&format!("got {mib} MiB\n")),
        Err(_) if request.path() == "/abort" => core::arch::wasm32::unreachable(),
        Err(at) => reply.answer(&format!("refused at {at} MiB\n")),
    }
}
