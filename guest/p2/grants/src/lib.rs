//! Tells what it was given, and uses it as the path says; what fails is answered by 200 with
//! `error: ` and the error's name.
//!
//! - `/`: one `what: outcome` a line: how many env, args and preopens, `closed` or `open` for stdin,
//!   and for tcp, udp, dns and http `allowed`, `denied` or the name of the error. It tries 127.0.0.1
//!   port 1 and the name localhost, or `?ip=A.B.C.D&port=P&name=NAME`.
//! - `/env`, `/args`, `/dirs`: one `NAME=VALUE`, argument, guest path a line; `/config?key=`, or
//!   `/config` for all of it.
//! - `/read?path=`, `/write?path=&data=`, `/list?path=`, `/touch?path=`: in the preopen whose guest
//!   path fits best.
//! - `/fetch?url=&method=&data=&times=`: an outgoing request, or so many one after the other; the status of the
//!   last answer on a line, then its body.
//! - `/upload?url=&method=&body=&length=`: one with a body that is `none`, `empty` (ended before it is
//!   sent), `later` (ended after), `short` (`hello`) or `streamed` (`hello`, then `, world`), and perhaps a
//!   length; the answer's status.
//! - `/tcp?addr=HOST:PORT`: sends `ping`, answers what comes back; `/lookup?name=`: an address a line.
//! - `/kv/get|set|delete|exists|incr|list?bucket=&key=&value=`, `/kv/many/get|set|delete` with `key`
//!   and `value` by commas. A `get` of nothing is `none`, and `incr` adds `value`.
//! - `/kv/set-with-ttl?bucket=&key=&value=&ttl=` in milliseconds; `/kv/cas?bucket=&key=&expected=&value=&ttl=`,
//!   each of the last three may be left out: `swapped`, or `it is` and the value;
//!   `/kv/prefix?bucket=&key=&limit=`: the keys that begin with `key`.
//!
//! Learnt from it: a guest has nothing that it was not given, and of that exactly what was granted.

mod fetch;
mod files;
mod kv;
mod network;
mod probe;
mod upload;
mod words;

use kit::wasip2::cli::environment;
use kit::{Done, Reply, Request};
use words::{configuration, lines, pair, text};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let answer = match request.path() {
        "/env" => Ok(lines(environment::get_environment().into_iter().map(pair))),
        "/args" => Ok(lines(environment::get_arguments())),
        "/config" => configuration(&request),
        "/dirs" => Ok(lines(files::dirs())),
        "/read" => files::read(text(&request, "path")),
        "/write" => files::write(text(&request, "path"), text(&request, "data")),
        "/list" => files::list(text(&request, "path")),
        "/touch" => files::touch(text(&request, "path")),
        "/fetch" => fetch::fetch(&request),
        "/upload" => upload::upload(&request),
        "/tcp" => network::ping(text(&request, "addr")),
        "/lookup" => network::lookup(text(&request, "name")),
        path => match path.strip_prefix("/kv/") {
            Some(what) => kv::kv(what, &request),
            None => Ok(probe::all(&request)),
        },
    };
    reply.answer(&answer.unwrap_or_else(|error| format!("error: {error}\n")))
}
