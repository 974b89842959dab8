//! Passes on, and appends to `x-chain` of the request and of the answer its configuration's `mark`
//! (`mark` where there is none).
//! Learnt from it: in which order the plugins of a chain run, and that each has its own configuration.

use kit::stores::config;
use kit::types::Fields;
use kit::{Answer, Request, chain};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    let mark = config::get("mark").ok().flatten().unwrap_or_else(|| "mark".into());
    let headers = marked(request.raw.get_headers().clone(), &mark);
    chain::pass(request.raw, headers, |headers| marked(headers, &mark)).await
}

fn marked(headers: Fields, mark: &str) -> Fields {
    headers.append("x-chain", mark.as_bytes()).expect("a permitted header");
    headers
}
