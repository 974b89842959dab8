//! Where the log goes: stderr, written by a thread of its own, so that a full pipe or a slow
//! terminal holds up neither a request nor a stop.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::panic;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use host_manifest::escape;
use tokio::time::Instant;
use tracing_subscriber::EnvFilter;

use crate::outlet;

/// Lines that may wait to be written; more are dropped, and counted, rather than waited for.
const BUFFERED_LINES: usize = 8192;

/// The same in bytes: what a guest prints comes in long lines.
const BUFFERED_BYTES: usize = 16 * 1024 * 1024;

/// At the end of the process, what has been logged waits this long for its reader.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// Then the last line, for which the rest is given up, waits this long.
const LAST_LINE_PATIENCE: Duration = Duration::from_secs(1);

/// Starts logging what `filter` lets pass.
///
/// # Errors
/// When there is no thread for it.
pub fn start(filter: EnvFilter) -> io::Result<Log> {
    let queue = Queue::default();
    let writer = queue.clone();
    thread::Builder::new().name("log".into()).spawn(move || writer.write_to(outlet::stderr()))?;
    say_panics(queue.clone());
    let line = queue.clone();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(move || line.clone())
        .fmt_fields(crate::log_fields::Fields)
        .init();
    Ok(Log(queue))
}

/// Has panics written as Rust does it, but by the thread of the log: the usual hook writes from the thread
/// that panics, which is a worker, and a terminal that is held would keep it.
fn say_panics(queue: Queue) {
    panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("<unnamed>");
        let mut text = format!("thread '{name}' {panic}\n");
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            text += &format!("stack backtrace:\n{trace}\n");
        }
        queue.push(text.as_bytes());
    }));
}

/// The log of the process.
#[derive(Debug)]
pub struct Log(Queue);

impl Log {
    /// Writes what has been logged, then `last`, and ends the log. Blocks for two seconds at most,
    /// when the log is not read; `last` comes even if the rest does not.
    pub fn end(self, last: &str) {
        let last = escape::lines(last);
        self.0.end(format!("{last}\n").into_bytes(), END_PATIENCE, LAST_LINE_PATIENCE);
    }
}

/// Lines on their way to the thread that writes them. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
struct Queue(Arc<(Mutex<Waiting>, Condvar)>);

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that found no room since the thread last said so.
    dropped: usize,
    /// Behind these lines there are no more.
    last: bool,
    /// The last one has been written, or cannot be.
    over: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No thread panics while it holds this; if one did, the lines would still be good.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        let full = waiting.lines.len() >= BUFFERED_LINES
            || waiting.bytes.saturating_add(line.len()) > BUFFERED_BYTES;
        if waiting.last {
            return;
        }
        if full {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.to_vec());
        drop(waiting);
        self.0.1.notify_all();
    }

    /// The next piece to write; none behind the last line.
    fn next(&self) -> Option<Vec<u8>> {
        let mut waiting = self.lock();
        loop {
            if waiting.dropped > 0 {
                let dropped = std::mem::take(&mut waiting.dropped);
                return Some(
                    format!("{dropped} lines of the log were dropped: nobody read them in time\n")
                        .into_bytes(),
                );
            }
            if let Some(line) = waiting.lines.pop_front() {
                waiting.bytes -= line.len();
                return Some(line);
            }
            if waiting.last {
                return None;
            }
            waiting = self.0.1.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write_to(&self, mut outlet: impl Write) {
        while let Some(line) = self.next() {
            // If stderr is closed, there is no reader.
            outlet.write_all(&line).ok();
        }
        self.lock().over = true;
        self.0.1.notify_all();
    }

    /// Ends the log with `last`: waits so long for what is before it, then so long for it alone.
    fn end(&self, last: Vec<u8>, patience: Duration, last_patience: Duration) {
        {
            let mut waiting = self.lock();
            waiting.last = true;
            waiting.lines.push_back(last);
        }
        self.0.1.notify_all();
        if self.is_over_within(patience) {
            return;
        }
        {
            let mut waiting = self.lock();
            let before = waiting.lines.len().saturating_sub(1);
            waiting.lines.drain(..before);
            waiting.dropped += before;
        }
        self.is_over_within(last_patience);
    }

    fn is_over_within(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut waiting = self.lock();
        while !waiting.over {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            (waiting, _) =
                self.0.1.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

/// Takes one line with each write, and never waits.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    const SOON: Duration = Duration::from_millis(10);
    const LATE: Duration = Duration::from_secs(30);

    /// What a reader gets that takes a line only when the test asks for one.
    struct Reader {
        lines: Receiver<String>,
    }

    struct Pipe(SyncSender<String>);

    impl Write for Pipe {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(line).into_owned();
            self.0.send(text).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> (Queue, Reader) {
        let (pipe, lines) = sync_channel(0);
        let queue = Queue::default();
        let writer = queue.clone();
        thread::spawn(move || writer.write_to(Pipe(pipe)));
        (queue, Reader { lines })
    }

    impl Reader {
        fn rest(self) -> Vec<String> {
            self.lines.iter().collect()
        }
    }

    #[test]
    fn what_was_logged_comes_before_the_last_line() {
        let (queue, reader) = queue();
        (1..=3).for_each(|n| queue.push(format!("line {n}\n").as_bytes()));
        let reading = thread::spawn(|| reader.rest());
        queue.end(b"last\n".to_vec(), LATE, LATE);
        assert_eq!(reading.join().unwrap(), ["line 1\n", "line 2\n", "line 3\n", "last\n"]);
        queue.push(b"too late\n");
    }

    /// A reader that comes back gets the last line and knows that it has missed others.
    #[test]
    fn last_line_comes_even_if_the_rest_found_no_reader() {
        let (queue, reader) = queue();
        // The first is with the thread, or will be.
        (1..=3).for_each(|n| queue.push(format!("line {n}\n").as_bytes()));
        queue.end(b"last\n".to_vec(), SOON, SOON);
        let rest = reader.rest();
        assert_eq!(rest.last().unwrap(), "last\n");
        assert!(rest.iter().any(|line| line.contains("dropped")), "{rest:?}");
    }

    #[test]
    fn log_does_not_wait_for_a_reader_that_does_not_read() {
        let (queue, reader) = queue();
        for _ in 0..BUFFERED_LINES + 10 {
            queue.push(b"line\n");
        }
        queue.end(b"last\n".to_vec(), SOON, SOON);
        drop(reader);
    }

    #[test]
    fn lines_that_found_no_room_are_counted() {
        let queue = Queue::default();
        let line = vec![b'x'; BUFFERED_BYTES / 2];
        (0..5).for_each(|_| queue.push(&line));
        let told = String::from_utf8(queue.next().unwrap()).unwrap();
        assert!(told.starts_with("3 lines of the log were dropped"), "{told}");
        assert_eq!(queue.next(), Some(line));
    }
}
