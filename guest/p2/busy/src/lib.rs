//! Spins without ever calling the host: `/` before the head (after the line `busy: spinning` on
//! stdout), `/late` after the head and the chunk `first`. `?ms=N` says so, spins that long, then answers; `?rounds=N`
//! spins so many rounds, however long they take.
//! Learnt from it: a guest that never yields is stopped, and harms nobody else until then.

use kit::wasip2::clocks::monotonic_clock::now;
use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    if let Some(ms) = request.text("ms") {
        // Before it says so: whoever hears it may stop the process.
        let end = now() + ms.parse().unwrap_or(0) * 1_000_000;
        kit::print("busy: spinning");
        while now() < end {}
        return reply.answer("spun\n");
    }
    if let Some(rounds) = request.text("rounds") {
        let mut sum = 0_u64;
        for round in 0..rounds.parse().unwrap_or(0) {
            sum = std::hint::black_box(sum.rotate_left(5) ^ round);
        }
        return reply.answer("spun\n");
    }
    if request.path() == "/late" {
        let mut answer = reply.send(200, kit::fields(&[]));
        answer.write("first\n")?;
        // The host runs on while we sleep, so the chunk is out before the spinning.
        kit::sleep(1);
        kit::spin()
    }
    kit::print("busy: spinning");
    kit::spin()
}
