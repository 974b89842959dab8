//! Breaks down in the way that the path says (`ways.rs`), at once; on `/after/WAY` when it has answered, on
//! `/body/WAY` when its body has begun. On other paths it answers. Its hooks break down in the way that
//! the variables ON_START, ON_DRAIN and ON_SHUTDOWN say. The one guest that is built with names and lines.
//! Learnt from it: the log says where a guest broke down.

mod ways;

use kit::wasip2::cli::environment::get_environment;
use kit::{Done, Reply, Request};
use ways::break_down;

kit::serve!(handle);
kit::on_start!(on_start);
kit::on_drain!(on_drain);
kit::on_shutdown!(on_shutdown);

fn handle(request: Request, reply: Reply) -> Done {
    report_panics();
    let path = request.path();
    if let Some(how) = path.strip_prefix("/after/") {
        reply.answer("answered\n")?;
        break_down(how);
    } else if let Some(how) = path.strip_prefix("/body/") {
        let mut answer = reply.send(200, kit::fields(&[]));
        answer.write("begun\n")?;
        break_down(how);
        answer.finish()?;
    } else {
        break_down(&path[1..]);
        reply.answer("in one piece\n")?;
    }
    Ok(())
}

fn on_start() -> Result<(), String> {
    hook("ON_START");
    Ok(())
}

fn on_drain(_: u64) {
    hook("ON_DRAIN");
}

fn on_shutdown(_: u64) {
    hook("ON_SHUTDOWN");
}

fn hook(variable: &str) {
    report_panics();
    if let Some((_, how)) = get_environment().into_iter().find(|(name, _)| name == variable) {
        break_down(&how);
    }
}

/// Debian's toolchain has no WASI below `std`: there this prints what `std` prints with rustup's.
fn report_panics() {
    #[cfg(not(target_os = "wasi"))]
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let why = panic.payload_as_str().unwrap_or_default();
        let text = format!("\nthread 'main' panicked at {place}:\n{why}\n");
        let _ = kit::wasip2::cli::stderr::get_stderr().blocking_write_and_flush(text.as_bytes());
    }));
}
