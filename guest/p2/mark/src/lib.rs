//! Passes on, and appends to `x-chain` of the request and of the answer its configuration's `mark`
//! (`mark` where there is none).
//! Learnt from it: in which order the plugins of a chain run, and that each has its own configuration.

use kit::stores::config;
use kit::types::Fields;
use kit::{Done, Reply, Request, chain};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let mark = config::get("mark").ok().flatten().unwrap_or_else(|| "mark".into());
    let headers = request.raw.headers().clone();
    chain::pass(&request, marked(headers, &mark), reply, |headers| marked(headers, &mark))
}

fn marked(headers: Fields, mark: &str) -> Fields {
    headers.append("x-chain", mark.as_bytes()).expect("a permitted header");
    headers
}
