//! Sends the request body back chunk by chunk, the head before the first of them, then the trailers.
//! Learnt from it: both directions stream at once, bytes and trailers arrive whole, and a body
//! broken off by the peer breaks the answer off.

use kit::types::Fields;
use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    let asked = request.raw.get_headers();
    let headers = Fields::new();
    for name in ["content-type", "trailer"] {
        let _ = headers.set(name, &asked.get(name));
    }
    let mut body = request.body();
    kit::stream(headers, async move |mut answer| {
        while let Some(bytes) = body.chunk().await {
            answer.write(bytes).await?;
        }
        answer.finish_with(body.trailers().await?).await
    })
}
