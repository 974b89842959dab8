//! How a host ended.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::process::{Process, TempPath};

/// How long the outputs may stay open after the process has ended, or the process after they have.
pub(super) const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

/// The end of a host, or of one `host` command.
///
/// Keeps the remains of the host (processes that it started, its socket file) until it is dropped, so that a
/// test can look at those too.
#[derive(Debug)]
pub struct Exit {
    /// The exit code, or minus the number of the signal that killed it.
    pub code: i32,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr: the log.
    pub stderr: String,
    /// The last line of stderr.
    pub last_line: String,
    /// The time from the latest signal (without one: from the start of the command or the wait).
    pub took: Duration,
    _process: Process,
    _socket: Option<TempPath>,
}

impl Exit {
    /// Waits for `process` to end.
    ///
    /// # Panics
    /// When that takes longer than `patience`.
    #[track_caller]
    pub(super) fn wait(
        process: Process,
        socket: Option<TempPath>,
        since: Instant,
        patience: Duration,
    ) -> Self {
        let Some(code) = process.wait(Instant::now() + patience) else {
            panic!("the host did not end in {patience:?}; its log is below");
        };
        let took = since.elapsed();
        let until = Instant::now() + OUTPUT_PATIENCE;
        // A successor that shares the outputs keeps them open. Then this is the output so far.
        let _closed = process.stdout.wait_closed(until) && process.stderr.wait_closed(until);
        Self {
            code,
            stdout: process.stdout.text(),
            stderr: process.stderr.text(),
            last_line: process.stderr.last(),
            took,
            _process: process,
            _socket: socket,
        }
    }

    /// Fails unless the exit code is `code`.
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "exit code; the last line was {:?}", self.last_line);
        self
    }

    /// Fails unless the last line of the log holds `text`.
    #[track_caller]
    pub fn expect_last_line(&self, text: &str) -> &Self {
        assert!(self.last_line.contains(text), "no {text:?} in the last line {:?}", self.last_line);
        self
    }

    /// Fails unless the last message on stderr contains `text` in its first line: the frames of a trap stand below it,
    /// indented.
    #[track_caller]
    pub fn expect_last_message(&self, text: &str) -> &Self {
        let last = self.stderr.lines().rfind(|line| !line.starts_with("    ")).unwrap_or_default();
        assert!(last.contains(text), "no {text:?} in the last message {last:?}");
        self
    }
}
