//! Answers whole, then works on: `?ms=N` by the clock and the line `after: done` on stdout; on
//! `/forever` it sleeps for ever, on `/spin` it spins for ever.
//! Learnt from it: work after the answer counts as in flight, under its own limit.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    reply.answer("answered\n")?;
    match request.path() {
        "/spin" => kit::spin(),
        "/forever" => loop {
            kit::sleep(60_000);
        },
        _ => kit::sleep(request.number("ms", 0)),
    }
    kit::print("after: done");
    Ok(())
}
