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

use kit::types::{self, Fields, Response};
use kit::wasip3::wit_future;
use kit::{Answer, Incoming, Request, chain};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    let fail = request.raw.get_headers().get("x-fail").pop();
    let fail = fail.and_then(|value| String::from_utf8(value).ok()).unwrap_or_default();
    match &*fail {
        "trap" => trap(),
        "spin" => kit::spin(),
        "hang" => hang().await,
        "early" => return Ok(forbidden()),
        "late" => return late(),
        "other" => other(&request).await,
        _ => {}
    }
    let answer = chain::next(request.raw).await?;
    match &*fail {
        "after" => trap(),
        "half" => {
            Incoming::of(answer).chunk().await;
            trap()
        }
        "through" => Ok(through(answer)),
        _ => Ok(answer),
    }
}

fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

async fn hang() -> ! {
    loop {
        kit::sleep(60_000).await;
    }
}

fn forbidden() -> Response {
    let answer = kit::streamed(kit::fields(&[]), async |mut body| {
        body.write("forbidden by the plugin\n").await?;
        body.finish().await
    });
    answer.set_status_code(403).expect("a valid status");
    answer
}

async fn other(request: &Request) -> ! {
    let path = request.raw.get_path_with_query().map(|path| path + "&other");
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (other, _) = types::Request::new(Fields::new(), None, trailers, None);
    other
        .set_method(&request.raw.get_method())
        .and_then(|()| other.set_scheme(request.raw.get_scheme().as_ref()))
        .and_then(|()| other.set_authority(request.raw.get_authority().as_deref()))
        .and_then(|()| other.set_path_with_query(path.as_deref()))
        .expect("they were good before");
    chain::next(other).await.expect("an answer");
    trap()
}

fn late() -> Answer {
    kit::stream(kit::fields(&[("content-length", "100")]), async |mut body| {
        body.write("the first half\n").await?;
        seen().await;
        trap()
    })
}

fn through(answer: Response) -> Response {
    let (status, headers) = (answer.get_status_code(), answer.get_headers().clone());
    let mut theirs = Incoming::of(answer);
    let answer = kit::streamed(headers, async move |mut body| {
        body.write(theirs.chunk().await.unwrap_or_default()).await?;
        seen().await;
        trap()
    });
    answer.set_status_code(status).expect("it was good before");
    answer
}

/// The host runs on while we sleep, so what was written is out before what comes now.
async fn seen() {
    kit::sleep(1).await;
}
