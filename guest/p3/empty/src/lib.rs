//! Makes `?n=N` empty writes, to stdout on `/stdout` or into the body on `/body`, then writes `done`;
//! on `/body/forever` it never stops.
//! Learnt from it: a write of nothing is no progress, and many of them do not keep the host busy.

use kit::wasip3::cli::stdout::write_via_stream;
use kit::wasip3::wit_bindgen::{StreamResult, StreamWriter};
use kit::wasip3::wit_stream;
use kit::{Answer, Done, PeerLeft, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    let n = request.number("n", 0);
    if request.path() == "/stdout" {
        let (mut stdout, bytes) = wit_stream::new();
        let written = write_via_stream(bytes);
        empty_writes(&mut stdout, n).await?;
        drop(stdout);
        let _ = written.await;
        return kit::answer("done\n");
    }
    let forever = request.path() == "/body/forever";
    kit::stream(kit::fields(&[]), async move |mut answer| {
        empty_writes(&mut answer.stream, if forever { u64::MAX } else { n }).await?;
        answer.write("done\n").await?;
        answer.finish().await
    })
}

async fn empty_writes(stream: &mut StreamWriter<u8>, n: u64) -> Done {
    for _ in 0..n {
        if let (StreamResult::Dropped, _) = stream.write(Vec::new()).await {
            return Err(PeerLeft);
        }
    }
    Ok(())
}
