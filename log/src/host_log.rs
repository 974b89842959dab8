//! The log of the host itself: what the tracing crate is told, to stderr.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::panic;
use std::thread;
use std::time::{Duration, SystemTime};

use host_manifest::{LogFormat, escape};
use tracing::Level;
use tracing_subscriber::EnvFilter;

use crate::events::EventFormat;
use crate::line::{Line, Value};
use crate::stderr::Stderr;
use crate::terminal;

/// At the end of the process, what has been logged waits this long for its reader.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// Then the last line, for which the rest is given up, waits this long.
const LAST_LINE_PATIENCE: Duration = Duration::from_secs(1);

/// The log of the process. Dropping it leaves it going on.
#[derive(Debug)]
pub struct Log {
    stderr: &'static Stderr,
    format: LogFormat,
}

/// Starts logging what `filter` lets pass.
///
/// # Errors
/// When there is no thread for it.
pub fn start(filter: EnvFilter, format: LogFormat) -> io::Result<Log> {
    let stderr = Stderr::of_process()?;
    say_panics(stderr, format);
    let colour = terminal::takes_colours(io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        .event_format(EventFormat { format, colour })
        .with_writer(move || stderr.clone())
        .init();
    Ok(Log { stderr, format })
}

/// Has panics written by the thread of the log: the usual hook writes from the thread that panics, which is a worker,
/// and a terminal that is held would keep it. As text they look as Rust writes them.
fn say_panics(stderr: &'static Stderr, format: LogFormat) {
    panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("<unnamed>");
        let trace = Backtrace::capture();
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        stderr.push(panic_text(format, &format!("thread '{name}' {panic}"), trace).as_bytes());
    }));
}

fn panic_text(format: LogFormat, said: &str, trace: Option<String>) -> String {
    match format {
        LogFormat::Text => {
            let trace = trace.map(|trace| format!("stack backtrace:\n{trace}\n"));
            format!("{said}\n{}", trace.unwrap_or_default())
        }
        LogFormat::Json => {
            let trace = trace.map(|trace| ("exception.stacktrace", Value::Text(trace)));
            json(Level::ERROR, "panic", said, trace.as_slice())
        }
    }
}

/// A line that no event of the tracing crate is behind.
fn json(level: Level, scope: &str, body: &str, fields: &[(&str, Value)]) -> String {
    let mut line = String::new();
    // A string takes all of it.
    Line { at: SystemTime::now(), level, scope, body, fields }
        .write(&mut line, LogFormat::Json, false)
        .ok();
    line
}

impl Log {
    /// Writes what has been logged, then `last`, and ends the log. Blocks for two seconds at most,
    /// when the log is not read; `last` comes even if the rest does not.
    pub fn end(self, last: &str) {
        let last = match self.format {
            LogFormat::Text => format!("{}\n", escape::lines(last)),
            LogFormat::Json => json(Level::INFO, "host", last, &[]),
        };
        self.stderr.end(last.into_bytes(), END_PATIENCE, LAST_LINE_PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_an_object_in_a_log_of_objects() {
        let said = "thread 'worker' panicked at src/main.rs:1:1:\nboom";
        let text = panic_text(LogFormat::Text, said, Some("0: main".into()));
        assert_eq!(text, format!("{said}\nstack backtrace:\n0: main\n"));
        let line = panic_text(LogFormat::Json, said, Some("0: main".into()));
        assert_eq!(line.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["body"], &line["severity_text"]), (&said.into(), &"ERROR".into()));
        assert_eq!(line["exception.stacktrace"], "0: main");
    }
}
