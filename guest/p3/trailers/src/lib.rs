//! A body with the announced trailer `x-sum: 42` after it.
//! Learnt from it: response trailers reach the peer.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(_: Request) -> Answer {
    kit::stream(kit::fields(&[("trailer", "x-sum")]), async move |mut answer| {
        answer.write("with trailers\n").await?;
        answer.finish_with(Some(kit::fields(&[("x-sum", "42")]))).await
    })
}
