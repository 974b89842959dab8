//! Reads the request body in its own way: `/` not at all, `/slow?ms=M` one chunk every M ms, `/count`
//! as fast as it comes. The last two answer `N bytes`.
//! Learnt from it: an unread body does not hold up the answer, a slow reader slows the peer, and what
//! becomes of a kept-alive connection after each.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    if request.path() == "/" {
        return kit::answer("ignored\n");
    }
    let slow = (request.path() == "/slow").then(|| request.number("ms", 0));
    let mut body = request.body();
    let mut count = 0;
    while let Some(bytes) = body.chunk().await {
        count += bytes.len();
        if let Some(ms) = slow {
            kit::sleep(ms).await;
        }
    }
    body.trailers().await?;
    kit::answer(&format!("{count} bytes\n"))
}
