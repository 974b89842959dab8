//! A body of `?kib=N` KiB, as fast as the peer takes it; every MiB the line `big: wrote I KiB` on stdout.
//! Learnt from it: a peer that does not read stops the guest, and the host keeps no body in memory.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    kit::stream(kit::fields(&[]), async move |mut answer| {
        let kibibyte = b"0123456789abcde\n".repeat(64);
        let mebibyte = kibibyte.repeat(1024);
        let kib = request.number("kib", 0);
        for written in 1..=kib / 1024 {
            answer.write(mebibyte.clone()).await?;
            kit::print(&format!("big: wrote {} KiB", written * 1024)).await;
        }
        answer.write(kibibyte.repeat(kib as usize % 1024)).await?;
        answer.finish().await
    })
}
