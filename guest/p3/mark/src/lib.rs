//! Passes on, and appends to `x-chain` of the request and of the answer its configuration's `mark`
//! (`mark` where there is none). Where the request has a header `x-forge: NAME=VALUE`, passes on that too.
//! Learnt from it: in which order the plugins of a chain run, that each has its own configuration, and what the
//! host makes of headers that are not for a plugin to write.

use kit::stores::config;
use kit::types::Fields;
use kit::{Answer, Request, chain};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    let mark = config::get("mark").ok().flatten().unwrap_or_else(|| "mark".into());
    let headers = marked(forged(request.raw.get_headers().clone()), &mark);
    chain::pass(request.raw, headers, |headers| marked(headers, &mark)).await
}

fn marked(headers: Fields, mark: &str) -> Fields {
    headers.append("x-chain", mark.as_bytes()).expect("a permitted header");
    headers
}

fn forged(headers: Fields) -> Fields {
    for field in headers.get("x-forge") {
        let field = String::from_utf8_lossy(&field).into_owned();
        let (name, value) = field.split_once('=').expect("NAME=VALUE");
        headers.set(name, &[value.into()]).expect("a permitted header");
    }
    headers
}
