//! What a guest of 0.3 might do to its host that one of 0.2 cannot, one deed a path:
//!
//! - `/handles?what=streams|futures|tasks|fields`: keeps making them.
//! - `/flood?n=&url=`: that many outgoing requests at once; answers how many came to what.
//! - `/endless`: a body without end; `/trailers?kib=`: of that size.
//! - `/deaf`: answers and never reads the request's body; `/deaf/hold`: does not answer either.
//! - `/hoard?n=`: passes the request's body to n streams of its own, one behind the other, and answers
//!   with the last of them.
//! - `/inject`, `/forbidden`, `/headers`: as the one of 0.2, whose source they are.
//! - `/spread`: goes on spawning work after its answer, each of which waits for ever.
//!
//! Learnt from it: none of it ends the host, reaches another component or goes unanswered.

mod flood;
#[path = "../../../p2/hostile/src/inject.rs"]
mod inject;
mod message;

use kit::types::{ErrorCode, Fields};
use kit::wasip3::wit_bindgen::StreamResult;
use kit::wasip3::{spawn_local, wit_future, wit_stream};
use kit::{Answer, Done, Incoming, Outgoing, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    match request.path() {
        "/handles" => handles(request.text("what").unwrap_or_default()).await,
        "/flood" => kit::answer(&flood::calls(&request).await),
        "/endless" => kit::stream(Fields::new(), endless),
        "/trailers" => trailers(request.number("kib", 1024)),
        "/inject" => answer_with(inject::inject()),
        "/forbidden" => answer_with(inject::forbidden()),
        "/headers" => answer_with(inject::headers()),
        "/deaf" => kit::answer("I do not listen\n"),
        "/deaf/hold" => loop {
            kit::sleep(60_000).await;
        },
        "/hoard" => {
            let n = request.number("n", 1000);
            Ok(hoard(n, request.body()))
        }
        "/spread" => kit::stream(Fields::new(), async |mut body| {
            body.write("and on\n").await?;
            body.finish().await?;
            spread().await
        }),
        _ => kit::answer("hostile, but not to this path\n"),
    }
}

/// An answer with these fields and this text.
fn answer_with((fields, text): (Fields, String)) -> Answer {
    kit::stream(fields, async move |mut body| {
        body.write(text).await?;
        body.finish().await
    })
}

/// Keeps each one that it gets. The host can refuse only by a trap.
async fn handles(what: &str) -> Answer {
    match what {
        "streams" => keep(wit_stream::new::<u8>),
        "futures" => keep(|| wit_future::new::<Result<(), ErrorCode>>(|| Ok(()))),
        "tasks" => spread().await,
        _ => keep(Fields::new),
    }
}

fn keep<T>(one: impl Fn() -> T) -> ! {
    let mut all = Vec::new();
    loop {
        all.push(one());
    }
}

/// Each sleeps as a call of its own to the host. Yields between them, so that they begin.
async fn spread() -> ! {
    loop {
        for _ in 0..100 {
            spawn_local(kit::sleep(u64::MAX / 1_000_000));
        }
        kit::sleep(0).await;
    }
}

async fn endless(mut body: Outgoing) -> Done {
    loop {
        body.write([b'x'; 64 * 1024]).await?;
    }
}

fn trailers(kib: u64) -> Answer {
    kit::stream(Fields::new(), async move |mut body| {
        body.write("and then\n").await?;
        let trailers = Fields::new();
        for i in 0..kib {
            if trailers.append(&format!("x-{i}"), &[b'v'; 1024]).is_err() {
                break;
            }
        }
        body.finish_with(Some(trailers)).await
    })
}

fn hoard(n: u64, body: Incoming) -> kit::types::Response {
    let mut last = body.stream;
    for _ in 0..n {
        let (mut writer, reader) = wit_stream::new();
        let mut before = last;
        spawn_local(async move {
            loop {
                let (status, bytes) = before.read(Vec::with_capacity(4096)).await;
                let ended = bytes.is_empty() && !matches!(status, StreamResult::Complete(_));
                if ended || !writer.write_all(bytes).await.is_empty() {
                    break;
                }
            }
        });
        last = reader;
    }
    kit::types::Response::new(Fields::new(), Some(last), body.trailers).0
}
