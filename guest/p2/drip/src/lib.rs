//! Head at once, then `?n=N` chunks, one every `&ms=M`: `tick I`, or `&bytes=B` times `x`.
//! With `&declare=1` the head tells the length of `n` chunks of `bytes`.
//! With `&log=1` it also prints `drip: tick I` to stdout after each.
//! Learnt from it: a slow stream is handed on as it comes, and when a peer that left is noticed.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let ms = request.number("ms", 0);
    let bytes = request.number("bytes", 0) as usize;
    let length = (request.number("n", 0) as usize * bytes).to_string();
    let declared = [("content-length", length.as_str())];
    let fields = if request.text("declare").is_some() { &declared[..] } else { &[] };
    let mut answer = reply.send(200, kit::fields(fields));
    for tick in 1..=request.number("n", 0) {
        kit::sleep(ms);
        match bytes {
            0 => answer.write(format!("tick {tick}\n"))?,
            _ => answer.write("x".repeat(bytes))?,
        }
        if request.text("log") == Some("1") {
            kit::print(&format!("drip: tick {tick}"));
        }
    }
    answer.finish()
}
