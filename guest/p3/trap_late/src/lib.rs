//! Head and the chunk `first`, then a trap: at once, or on `/gate` when the request body has ended.
//! Learnt from it: a response broken in its middle cannot be taken for a whole one.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    kit::stream(kit::fields(&[]), async move |mut answer| {
        answer.write("first\n").await?;
        match request.path() {
            "/gate" => drop(request.body().count().await?),
            // The host runs on while we sleep, so the chunk is out before the trap.
            _ => kit::sleep(1).await,
        }
        core::arch::wasm32::unreachable()
    })
}
