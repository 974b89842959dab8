//! Reads the request body in its own way: `/` not at all, `/slow?ms=M` one chunk every M ms, `/count`
//! as fast as it comes. The last two answer `N bytes`.
//! Learnt from it: an unread body does not hold up the answer, a slow reader slows the peer, and what
//! becomes of a kept-alive connection after each.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    if request.path() == "/" {
        return reply.answer("ignored\n");
    }
    let mut body = request.body();
    let mut count = 0;
    while let Some(bytes) = body.chunk()? {
        count += bytes.len();
        if request.path() == "/slow" {
            kit::sleep(request.number("ms", 0));
        }
    }
    reply.answer(&format!("{count} bytes\n"))
}
