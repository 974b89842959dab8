//! Passes every request on to the next of the chain, and the answer back, as they are.
//! Learnt from it: what a chain costs, and that everything comes through it whole, both ways at once.

use kit::{Answer, Request, chain};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    chain::next(request.raw).await
}
