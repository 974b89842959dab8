//! Passes every request on to the next of the chain, and the answer back, as they are.
//! Learnt from it: what a chain costs, and that everything comes through it whole, both ways at once.

use kit::{Done, Reply, Request, chain};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let headers = request.raw.headers().clone();
    chain::pass(&request, headers, reply, |headers| headers)
}
