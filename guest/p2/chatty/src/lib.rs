//! Prints `?n=N` lines of `&len=L` bytes to stdout, on `/escape` one more with ESC [31m and a NUL in it.
//! Learnt from it: a guest's lines are logged one by one, bounded, and cannot command a terminal.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let line = "x".repeat(request.number("len", 0) as usize);
    for _ in 0..request.number("n", 0) {
        kit::print(&line);
    }
    if request.path() == "/escape" {
        kit::print("before \x1b[31mred\0after");
    }
    reply.answer("done\n")
}
