//! Looks for what earlier requests left in its memory, then leaves `?secret=STR` everywhere: `dirty: N`
//! bytes in a static, `count: N` requests with this one, `found: N` fresh pages that are not zero.
//! Learnt from it: a fresh instance is fresh, and memory given back holds nothing of its last owner.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    reply.answer(&kit::leak(request.text("secret").unwrap_or("secret")))
}
