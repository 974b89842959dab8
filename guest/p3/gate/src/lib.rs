//! Waits for the request body, which the test holds open: `/` before the body's last line, `/head`
//! before the head (after the line `gate: started` on stdout), `/first` only for the first byte.
//! Learnt from it: what happens to an exchange at a moment that the test, not a clock, chooses.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    let path = request.path().to_owned();
    let mut gate = request.body();
    if path == "/" {
        return kit::stream(kit::fields(&[]), async move |mut answer| {
            answer.write("started\n").await?;
            gate.count().await?;
            answer.write("done\n").await?;
            answer.finish().await
        });
    }
    kit::print("gate: started").await;
    match &*path {
        "/first" => drop(gate.chunk().await),
        _ => drop(gate.count().await?),
    }
    kit::answer("done\n")
}
