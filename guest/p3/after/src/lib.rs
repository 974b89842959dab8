//! Answers whole, then works on: `?ms=N` by the clock and the line `after: done` on stdout; on
//! `/forever` it sleeps for ever, on `/spin` it spins for ever.
//! Learnt from it: work after the answer counts as in flight, under its own limit.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    let headers = kit::fields(&[("content-length", "9")]);
    kit::stream(headers, async move |mut answer| {
        answer.write("answered\n").await?;
        answer.finish().await?;
        match request.path() {
            "/spin" => kit::spin(),
            "/forever" => loop {
                kit::sleep(60_000).await;
            },
            _ => kit::sleep(request.number("ms", 0)).await,
        }
        kit::print("after: done").await;
        Ok(())
    })
}
