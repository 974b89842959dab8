//! Head at once, then `?n=N` chunks, one every `&ms=M`: `tick I`, or `&bytes=B` times `x`.
//! With `&declare=1` the head tells the length of `n` chunks of `bytes`.
//! With `&log=1` it also prints `drip: tick I` to stdout after each.
//! Learnt from it: a slow stream is handed on as it comes, and when a peer that left is noticed.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    let bytes = request.number("bytes", 0) as usize;
    let length = (request.number("n", 0) as usize * bytes).to_string();
    let declared = [("content-length", length.as_str())];
    let fields = if request.text("declare").is_some() { &declared[..] } else { &[] };
    kit::stream(kit::fields(fields), async move |mut answer| {
        let ms = request.number("ms", 0);
        for tick in 1..=request.number("n", 0) {
            kit::sleep(ms).await;
            match bytes {
                0 => answer.write(format!("tick {tick}\n")).await?,
                _ => answer.write("x".repeat(bytes)).await?,
            }
            if request.text("log") == Some("1") {
                kit::print(&format!("drip: tick {tick}")).await;
            }
        }
        answer.finish().await
    })
}
