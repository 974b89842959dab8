//! A plugin that fails as the request's header `x-fail` says, and passes on where it says nothing:
//!
//! - before it has passed on: `trap`, `spin`, `hang`, or `early`, which answers 403 itself;
//! - passed on, its own head not yet out: `after` traps when it has the answer's head, `half` when it
//!   has the first bytes of the answer's body;
//! - its own head out: `late` has answered itself, `through` with the answer of the next, and each
//!   traps behind the first bytes of the body;
//! - `other` has the next answer the same for another path, `&other` behind it, and traps: the request
//!   that came is as it was.
//!
//! Learnt from it: what fail open and fail closed do at each point of an exchange.

use kit::chain::Passed;
use kit::types::Scheme;
use kit::{Done, Reply, Request, chain, client};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let headers = request.raw.headers().clone();
    let fail = headers.get("x-fail").pop().and_then(|value| String::from_utf8(value).ok());
    match fail.as_deref().unwrap_or_default() {
        "trap" => trap(),
        "spin" => kit::spin(),
        "hang" => hang(),
        "early" => return forbid(reply),
        "late" => late(reply),
        "other" => other(&request),
        "" => return chain::pass(&request, headers, reply, |headers| headers),
        _ => {}
    }
    let mut passed = Passed::on(&request, headers).expect("passed on");
    let answer = passed.head().expect("an answer");
    let mut body = client::body(&answer);
    match fail.as_deref() {
        Some("half") => drop(body.chunk()?),
        Some("through") => {
            let mut ours = reply.send(answer.status(), answer.headers().clone());
            ours.write(body.chunk()?.unwrap_or_default())?;
            seen();
        }
        _ => {}
    }
    trap()
}

fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

fn hang() -> ! {
    loop {
        kit::sleep(60_000);
    }
}

fn forbid(reply: Reply) -> Done {
    let mut answer = reply.send(403, kit::fields(&[]));
    answer.write("forbidden by the plugin\n")?;
    answer.finish()
}

fn other(request: &Request) -> ! {
    let to = client::To {
        method: request.raw.method(),
        scheme: Scheme::Http,
        authority: chain::NEXT.into(),
        path: request.raw.path_with_query().map(|path| path + "&other"),
    };
    let (body, answer) = client::send(&to, kit::fields(&[])).expect("sent");
    let _ = body.finish();
    client::wait(&answer).expect("an answer");
    trap()
}

fn late(reply: Reply) -> ! {
    let mut answer = reply.send(200, kit::fields(&[("content-length", "100")]));
    let _ = answer.write("the first half\n");
    seen();
    trap()
}

/// The host runs on while we sleep, so what was written is out before what comes now.
fn seen() {
    kit::sleep(1);
}
