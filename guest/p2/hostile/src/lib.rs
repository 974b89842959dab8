//! What a guest might do to its host and its neighbours, one deed a path:
//!
//! - `/spin?ms=`: keeps a core for that long, for ever where it does not say; never calls the host.
//! - `/hold?mib=&ms=`: takes that much memory and sleeps on it. `/deep`: recurses without end.
//! - `/handles?what=fields|pollables|dirs|requests`: keeps making them; `/random?mib=`: asks for so
//!   much at once.
//! - `/calls?n=&url=`: that many outgoing requests one after the other, `/flood?n=&url=` all at once;
//!   answers how many came to what.
//! - `/endless`: a body without end; `/headers`, `/trailers?kib=`: of the answer, until refused and of
//!   that size; `/stdout`, `/stderr`: writes there without end.
//! - `/deaf`: answers and never reads the request's body; `/deaf/hold`: does not answer either.
//! - `/escape?path=`: tries to leave its first preopen in the usual ways and by that path;
//!   `/flip?ms=` and `/race?ms=`, at the same time: the one puts now the directory `inside`, now the
//!   link `outside` at `door`, the other counts what it can read as `door/secret`.
//! - `/inject`: sets headers and parts of a request with line breaks and more in them; `/forbidden`:
//!   headers that are the host's to set. They tell what was taken, and send all of that.
//!
//! Learnt from it: none of it ends the host, reaches another component or goes unanswered.

mod escape;
mod flood;
mod inject;
mod message;
mod race;

use std::hint::black_box;

use kit::types::Fields;
use kit::wasip2::clocks::monotonic_clock::now;
use kit::wasip2::random::random::get_random_bytes;
use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    match request.path() {
        "/spin" => spin(request.number("ms", u64::MAX), reply),
        "/hold" => hold(&request, reply),
        "/deep" => reply.answer(&format!("{} deep\n", deep(0))),
        "/handles" => reply.answer(&flood::handles(request.text("what").unwrap_or_default())),
        "/random" => {
            let bytes = get_random_bytes(request.number("mib", 1) << 20);
            reply.answer(&format!("{} bytes\n", bytes.len()))
        }
        "/calls" => reply.answer(&flood::calls(&request, false)),
        "/flood" => reply.answer(&flood::calls(&request, true)),
        "/endless" => flood::body(reply),
        "/headers" => answer_with(reply, inject::headers()),
        "/trailers" => flood::trailers(request.number("kib", 1024), reply),
        "/stdout" => flood::output(&kit::wasip2::cli::stdout::get_stdout()),
        "/stderr" => flood::output(&kit::wasip2::cli::stderr::get_stderr()),
        "/deaf" => reply.answer("I do not listen\n"),
        "/deaf/hold" => loop {
            kit::sleep(60_000);
        },
        "/escape" => reply.answer(&escape::escape(request.text("path"))),
        "/flip" => reply.answer(&race::flip(request.number("ms", 1000))),
        "/race" => reply.answer(&race::race(request.number("ms", 1000))),
        "/inject" => answer_with(reply, inject::inject()),
        "/forbidden" => answer_with(reply, inject::forbidden()),
        _ => reply.answer("hostile, but not to this path\n"),
    }
}

/// An answer with these fields and this text.
fn answer_with(reply: Reply, (fields, text): (Fields, String)) -> Done {
    let mut answer = reply.send(200, fields);
    answer.write(text)?;
    answer.finish()
}

fn spin(ms: u64, reply: Reply) -> Done {
    let end = now().saturating_add(ms.saturating_mul(1_000_000));
    if end == u64::MAX {
        kit::spin()
    }
    while now() < end {
        // So many rounds take about a millisecond, without a call to the host.
        for round in 0..1_000_000 {
            black_box(round);
        }
    }
    reply.answer("spun\n")
}

fn hold(request: &Request, reply: Reply) -> Done {
    match kit::eat(request.number("mib", 1)) {
        Ok(()) => {
            kit::sleep(request.number("ms", 0));
            reply.answer("held\n")
        }
        Err(at) => reply.answer(&format!("refused at {at} MiB\n")),
    }
}

/// Adds on the way back, so that no compiler makes a loop of it.
fn deep(at: u64) -> u64 {
    if black_box(at) == u64::MAX { at } else { deep(at + 1) + black_box(1) }
}
