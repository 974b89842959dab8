//! Looks for what earlier requests left in its memory, then leaves `?secret=STR` in 200 pages far from each other:
//! `changed: N` bytes, `written: N` pages. Learnt from it: a large guest that writes to many places begins fresh, and
//! without page faults.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    kit::answer(&kit::scatter(request.text("secret").unwrap_or("secret")))
}
