//! Spins without ever calling the host: `/` before the head (after the line `busy: spinning` on
//! stdout), `/late` after the head and the chunk `first`. `?ms=N` says so, spins that long, then answers; `?rounds=N`
//! spins so many rounds, however long they take.
//! Learnt from it: a guest that never yields is stopped, and harms nobody else until then.

use kit::wasip3::clocks::monotonic_clock::now;
use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    if let Some(ms) = request.text("ms") {
        // Before it says so: whoever hears it may stop the process.
        let end = now() + ms.parse().unwrap_or(0) * 1_000_000;
        kit::print("busy: spinning").await;
        while now() < end {}
        return kit::answer("spun\n");
    }
    if let Some(rounds) = request.text("rounds") {
        let mut sum = 0_u64;
        for round in 0..rounds.parse().unwrap_or(0) {
            sum = std::hint::black_box(sum.rotate_left(5) ^ round);
        }
        return kit::answer("spun\n");
    }
    if request.path() == "/late" {
        return kit::stream(kit::fields(&[]), async move |mut answer| {
            answer.write("first\n").await?;
            // The host runs on while we sleep, so the chunk is out before the spinning.
            kit::sleep(1).await;
            kit::spin()
        });
    }
    kit::print("busy: spinning").await;
    kit::spin()
}
