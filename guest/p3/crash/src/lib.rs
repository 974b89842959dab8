//! Breaks down in the way that the path says (`ways.rs`), at once; on `/after/WAY` when it has answered, on
//! `/body/WAY` when its body has begun. On other paths it answers. Its hooks break down in the way that
//! the variables ON_START, ON_DRAIN and ON_SHUTDOWN say. Built with names and lines, as its sister in p2, and with
//! a memory that begins with more than 2 MiB.
//! Learnt from it: the log says where a guest broke down.

#[path = "../../../p2/crash/src/ways.rs"]
mod ways;

use std::hint::black_box;
use std::sync::atomic::AtomicU8;

use kit::wasip3::cli::environment::get_environment;
use kit::{Answer, Request};
use ways::break_down;

kit::serve!(handle);
kit::on_start!(on_start);
kit::on_drain!(on_drain);
kit::on_shutdown!(on_shutdown);

/// Large enough for instances to write to pages of it before they serve.
static ROOM: [AtomicU8; 2 << 20] = [const { AtomicU8::new(0) }; 2 << 20];

async fn handle(request: Request) -> Answer {
    black_box(&ROOM);
    let path = request.path().to_owned();
    if let Some(how) = path.strip_prefix("/after/") {
        let (how, headers) = (how.to_owned(), kit::fields(&[("content-length", "9")]));
        return kit::stream(headers, async move |mut answer| {
            answer.write("answered\n").await?;
            answer.finish().await?;
            // The host takes the end while we sleep.
            kit::sleep(1).await;
            break_down(&how);
            Ok(())
        });
    }
    if let Some(how) = path.strip_prefix("/body/") {
        let how = how.to_owned();
        return kit::stream(kit::fields(&[]), async move |mut answer| {
            answer.write("begun\n").await?;
            kit::sleep(1).await;
            break_down(&how);
            answer.finish().await
        });
    }
    break_down(&path[1..]);
    kit::answer("in one piece\n")
}

async fn on_start() -> Result<(), String> {
    hook("ON_START");
    Ok(())
}

async fn on_drain(_: u64) {
    hook("ON_DRAIN");
}

async fn on_shutdown(_: u64) {
    hook("ON_SHUTDOWN");
}

fn hook(variable: &str) {
    if let Some((_, how)) = get_environment().into_iter().find(|(name, _)| name == variable) {
        break_down(&how);
    }
}
