//! A body of `?kib=N` KiB, as fast as the peer takes it; every MiB the line `big: wrote I KiB` on stdout.
//! Learnt from it: a peer that does not read stops the guest, and the host keeps no body in memory.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let mut answer = reply.send(200, kit::fields(&[]));
    let kibibyte = b"0123456789abcde\n".repeat(64);
    let mebibyte = kibibyte.repeat(1024);
    let kib = request.number("kib", 0);
    for written in 1..=kib / 1024 {
        answer.write(&mebibyte)?;
        kit::print(&format!("big: wrote {} KiB", written * 1024));
    }
    answer.write(kibibyte.repeat(kib as usize % 1024))?;
    answer.finish()
}
