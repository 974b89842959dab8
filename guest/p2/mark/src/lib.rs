//! Passes on, and appends to `x-chain` of the request and of the answer its configuration's `mark`
//! (`mark` where there is none). With `header` in its configuration it appends to that one of the request instead.
//! Where the request has a header `x-forge: NAME=VALUE`, passes on that too.
//! Learnt from it: in which order the plugins of a chain run, that each has its own configuration, and what the
//! host makes of headers that are not for a plugin to write.

use kit::stores::config;
use kit::types::Fields;
use kit::{Done, Reply, Request, chain};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let mark = config::get("mark").ok().flatten().unwrap_or_else(|| "mark".into());
    let header = config::get("header").ok().flatten().unwrap_or_else(|| CHAIN.into());
    let headers = forged(request.raw.headers().clone());
    let onward = marked(headers, &header, &mark);
    chain::pass(&request, onward, reply, |headers| marked(headers, CHAIN, &mark))
}

const CHAIN: &str = "x-chain";

fn marked(headers: Fields, header: &str, mark: &str) -> Fields {
    headers.append(header, mark.as_bytes()).expect("a permitted header");
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
