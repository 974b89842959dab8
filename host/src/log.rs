//! Where the log goes: stderr, written by a thread of its own, so that a full pipe or a slow
//! terminal holds up neither a request nor a stop.

use std::io::{self, IsTerminal as _};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that may wait to be written; more are dropped rather than waited for.
const BUFFERED_LINES: usize = 8192;

/// Starts logging what `filter` lets pass. Dropping the guard writes what is left and ends the log's thread.
pub fn start(filter: EnvFilter) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(BUFFERED_LINES)
        .thread_name("log")
        .finish(io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(writer)
        .init();
    guard
}
