//! Takes `?mib=N` of memory and writes all of it in one instruction (`memory.fill`, or `memory.copy` on
//! `/copy`), `times=M` times, then answers `filled`.
//! Learnt from it: such an instruction cannot be stopped in the middle, and what that costs others.

use core::hint::black_box;

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let bytes = (request.number("mib", 1) as usize) << 20;
    let mut memory = vec![0u8; bytes];
    for _ in 0..request.number("times", 1) {
        match request.path() {
            "/copy" => copy(black_box(&mut memory)),
            _ => fill(black_box(&mut memory)),
        }
    }
    reply.answer("filled\n")
}

#[target_feature(enable = "bulk-memory")]
fn fill(memory: &mut [u8]) {
    memory.fill(1);
}

#[target_feature(enable = "bulk-memory")]
fn copy(memory: &mut [u8]) {
    let (from, to) = memory.split_at_mut(memory.len() / 2);
    to[..from.len()].copy_from_slice(from);
}
