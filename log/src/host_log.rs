//! The log of the host itself: what the tracing crate is told, to stderr.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::env;
use std::io::{self, IsTerminal as _};
use std::panic;
use std::thread;
use std::time::Duration;

use host_manifest::{LogFormat, escape};
use tracing_subscriber::EnvFilter;

use crate::events::EventFormat;
use crate::stderr::Stderr;

/// At the end of the process, what has been logged waits this long for its reader.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// Then the last line, for which the rest is given up, waits this long.
const LAST_LINE_PATIENCE: Duration = Duration::from_secs(1);

/// The log of the process. Dropping it leaves it going on.
#[derive(Debug)]
pub struct Log(&'static Stderr);

/// Starts logging what `filter` lets pass.
///
/// # Errors
/// When there is no thread for it.
pub fn start(filter: EnvFilter, format: LogFormat) -> io::Result<Log> {
    let stderr = Stderr::of_process()?;
    say_panics(stderr);
    let colour = io::stderr().is_terminal() && !refuses_colour(env::var_os("NO_COLOR").as_deref());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        .event_format(EventFormat { format, colour })
        .with_writer(move || stderr.clone())
        .init();
    Ok(Log(stderr))
}

/// Whether `NO_COLOR` is set, to anything but the empty string (no-color.org).
fn refuses_colour(value: Option<&std::ffi::OsStr>) -> bool {
    value.is_some_and(|value| !value.is_empty())
}

/// Has panics written as Rust does it, but by the thread of the log: the usual hook writes from the thread
/// that panics, which is a worker, and a terminal that is held would keep it.
fn say_panics(stderr: &'static Stderr) {
    panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("<unnamed>");
        let mut text = format!("thread '{name}' {panic}\n");
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            text += &format!("stack backtrace:\n{trace}\n");
        }
        stderr.push(text.as_bytes());
    }));
}

impl Log {
    /// Writes what has been logged, then `last`, and ends the log. Blocks for two seconds at most,
    /// when the log is not read; `last` comes even if the rest does not.
    pub fn end(self, last: &str) {
        let last = escape::lines(last);
        self.0.end(format!("{last}\n").into_bytes(), END_PATIENCE, LAST_LINE_PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn no_color_counts_unless_it_is_empty() {
        for (value, refuses) in
            [(None, false), (Some(""), false), (Some("1"), true), (Some("0"), true)]
        {
            assert_eq!(refuses_colour(value.map(OsStr::new)), refuses, "{value:?}");
        }
    }
}
