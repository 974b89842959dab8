//! Answers a number that its instance has chosen, and how many requests came to it. `/slow` waits
//! for the request's body first, which the test holds open; `/trap` traps.
//! Learnt from it: which requests share an instance, and that none shares a broken one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kit::wasip2::random::random::get_random_u64;
use kit::{Done, Reply, Request};

kit::serve!(handle);

static INSTANCE: OnceLock<u64> = OnceLock::new();
static REQUESTS: AtomicU64 = AtomicU64::new(0);

fn handle(request: Request, reply: Reply) -> Done {
    let instance = INSTANCE.get_or_init(get_random_u64);
    let requests = REQUESTS.fetch_add(1, Relaxed) + 1;
    match request.path() {
        "/trap" => core::arch::wasm32::unreachable(),
        "/slow" => drop(request.body().count()?),
        _ => {}
    }
    reply.answer(&format!("instance={instance:016x} requests={requests}\n"))
}
