//! Passes on, and appends to `x-chain` of the request and of the answer its configuration's `mark`
//! (`mark` where there is none). With `header` in its configuration it appends to that one of the request instead.
//! Learnt from it: in which order the plugins of a chain run, and that each has its own configuration.

use kit::stores::config;
use kit::types::Fields;
use kit::{Done, Reply, Request, chain};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let mark = config::get("mark").ok().flatten().unwrap_or_else(|| "mark".into());
    let header = config::get("header").ok().flatten().unwrap_or_else(|| CHAIN.into());
    let headers = request.raw.headers().clone();
    let onward = marked(headers, &header, &mark);
    chain::pass(&request, onward, reply, |headers| marked(headers, CHAIN, &mark))
}

const CHAIN: &str = "x-chain";

fn marked(headers: Fields, header: &str, mark: &str) -> Fields {
    headers.append(header, mark.as_bytes()).expect("a permitted header");
    headers
}
