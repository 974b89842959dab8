//! Sends the request body back chunk by chunk, the head before the first of them, then the trailers.
//! Learnt from it: both directions stream at once, bytes and trailers arrive whole, and a body
//! broken off by the peer breaks the answer off.

use kit::types::Fields;
use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let asked = request.raw.headers();
    let headers = Fields::new();
    for name in ["content-type", "trailer"] {
        let _ = headers.set(name, &asked.get(name));
    }
    let mut answer = reply.send(200, headers);
    let mut body = request.body();
    while let Some(bytes) = body.chunk()? {
        answer.write(bytes)?;
    }
    answer.finish_with(body.trailers())
}
