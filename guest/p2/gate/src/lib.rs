//! Waits for the request body, which the test holds open: `/` before the body's last line, `/head`
//! before the head (after the line `gate: started` on stdout), `/first` only for the first byte.
//! Learnt from it: what happens to an exchange at a moment that the test, not a clock, chooses.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let mut gate = request.body();
    if request.path() == "/" {
        let mut answer = reply.send(200, kit::fields(&[]));
        answer.write("started\n")?;
        gate.count()?;
        answer.write("done\n")?;
        return answer.finish();
    }
    kit::print("gate: started");
    match request.path() {
        "/first" => drop(gate.chunk()?),
        _ => drop(gate.count()?),
    }
    reply.answer("done\n")
}
