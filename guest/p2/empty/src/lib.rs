//! Makes `?n=N` empty writes, to stdout on `/stdout` or into the body on `/body`, then writes `done`;
//! on `/body/forever` it never stops.
//! Learnt from it: a write of nothing is no progress, and many of them do not keep the host busy.

use kit::wasip2::cli::stdout::get_stdout;
use kit::wasip2::io::streams::OutputStream;
use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let n = request.number("n", 0);
    if request.path() == "/stdout" {
        empty_writes(&get_stdout(), n)?;
        return reply.answer("done\n");
    }
    let mut answer = reply.send(200, kit::fields(&[]));
    let forever = request.path() == "/body/forever";
    empty_writes(&answer.stream, if forever { u64::MAX } else { n })?;
    answer.write("done\n")?;
    answer.finish()
}

fn empty_writes(stream: &OutputStream, n: u64) -> Done {
    for _ in 0..n {
        // A write without leave to write would be a trap, even an empty one.
        while stream.check_write()? == 0 {
            stream.subscribe().block();
        }
        stream.write(&[])?;
    }
    Ok(())
}
