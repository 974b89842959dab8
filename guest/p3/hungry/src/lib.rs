//! Takes and touches memory, 1 MiB at a time, up to `?mib=N`, and tells how far it came. On `/abort`
//! it takes a refusal as most guests do: it traps.
//! Learnt from it: the memory limit holds, and a guest at its limit hurts itself alone.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    let mib = request.number("mib", 4096);
    match kit::eat(mib) {
        Ok(()) => kit::answer(&format!("got {mib} MiB\n")),
        Err(_) if request.path() == "/abort" => core::arch::wasm32::unreachable(),
        Err(at) => kit::answer(&format!("refused at {at} MiB\n")),
    }
}
