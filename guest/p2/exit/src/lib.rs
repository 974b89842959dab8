//! Calls wasi:cli/exit in place of an answer: with ok, on `/error` with an error.
//! Learnt from it: a guest can end itself, never the host.

use kit::wasip2::cli::exit::exit;
use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, _: Reply) -> Done {
    exit(if request.path() == "/error" { Err(()) } else { Ok(()) });
    Ok(())
}
