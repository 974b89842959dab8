//! The stderr of the process, written by a thread of its own: lines, and on a terminal one line of progress
//! below them that is drawn over itself. A full pipe, a slow terminal or one that is held (Ctrl-S) keeps that
//! thread waiting, and nothing else.
//!
//! The indicatif crate draws from the thread that calls it, or from one that ticks; both would wait for that
//! terminal.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::{fit, outlet, terminal};

/// Lines that may wait to be written; more are dropped, and counted, rather than waited for.
const BUFFERED_LINES: usize = 8192;

/// The same in bytes: what a guest prints comes in long lines.
const BUFFERED_BYTES: usize = 16 * 1024 * 1024;

/// What follows on the terminal waits this long for the line of progress to be cleared.
const CLEAR_PATIENCE: Duration = Duration::from_millis(200);

/// Goes to the beginning of the line and erases it.
const CLEAR: &str = "\r\x1b[2K";

/// Text on its way to the thread that writes it. Cloning gives another handle; dropping all of them leaves the
/// thread waiting for the end of the process.
#[derive(Clone, Debug, Default)]
pub struct Stderr(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Each of one line or more, whole.
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that found no room since the thread last said so.
    dropped: usize,
    /// Lines that found no room, ever.
    all_dropped: u64,
    /// The line of progress, if it is to change.
    progress: Option<String>,
    /// There has been one, ever.
    drawn: bool,
    /// Are told once the progress is as it is to be.
    drawing: Vec<oneshot::Sender<()>>,
    /// Behind these lines there are no more.
    last: bool,
    /// The last one has been written, or cannot be.
    over: bool,
}

/// What the thread writes next.
#[derive(Debug)]
enum Piece {
    Lines(Vec<u8>),
    Progress(String, Vec<oneshot::Sender<()>>),
    /// The line of progress again, because lines were written where it stood.
    Redraw,
}

impl Stderr {
    /// That of the process. Its thread is made with the first call.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn of_process() -> io::Result<&'static Self> {
        static STDERR: LazyLock<io::Result<Stderr>> =
            LazyLock::new(|| Stderr::on(outlet::stderr(), columns));
        STDERR.as_ref().map_err(|why| io::Error::new(why.kind(), why.to_string()))
    }

    /// The same, if it is a terminal on which a line can be drawn over itself: somewhere for progress.
    pub fn terminal() -> Option<&'static Self> {
        terminal::takes_commands(io::stderr()).then(Self::of_process)?.ok()
    }

    /// Writes to `outlet` from a thread of its own. `columns` are those of the terminal, at the moment.
    fn on(
        outlet: impl Write + Send + 'static,
        columns: impl Fn() -> Option<usize> + Send + 'static,
    ) -> io::Result<Self> {
        let stderr = Self::default();
        let writer = stderr.clone();
        let write = move || writer.write_to(outlet, columns);
        thread::Builder::new().name("log".into()).spawn(write)?;
        Ok(stderr)
    }

    /// Has whole lines written. Never waits; without room they are dropped and counted.
    pub fn push(&self, lines: &[u8]) {
        let mut waiting = self.lock();
        let full = waiting.lines.len() >= BUFFERED_LINES
            || waiting.bytes.saturating_add(lines.len()) > BUFFERED_BYTES;
        if waiting.last {
            return;
        }
        if full {
            let lines = lines.iter().filter(|byte| **byte == b'\n').count();
            waiting.dropped += lines;
            waiting.all_dropped += lines as u64;
            return;
        }
        waiting.bytes += lines.len();
        waiting.lines.push_back(lines.to_vec());
        drop(waiting);
        self.0.changed.notify_all();
    }

    /// Lines that found no room so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().all_dropped
    }

    /// Has `text` drawn below all lines, cut to the width of the terminal, in place of what was there; nothing
    /// clears it. Never waits, and of what is to be drawn meanwhile the last stays.
    pub fn draw(&self, text: String) {
        {
            let mut waiting = self.lock();
            (waiting.progress, waiting.drawn) = (Some(text), true);
        }
        self.0.changed.notify_all();
    }

    /// Clears the line of progress before anything else is written, unless the terminal is held.
    pub async fn clear(&self) {
        let (done, cleared) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if !waiting.drawn {
                return;
            }
            waiting.progress = Some(String::new());
            waiting.drawing.push(done);
        }
        self.0.changed.notify_all();
        timeout(CLEAR_PATIENCE, cleared).await.ok();
    }

    /// Ends with `last`: waits so long for what is before it, then so long for it alone. Blocks.
    pub(crate) fn end(&self, last: Vec<u8>, patience: Duration, last_patience: Duration) {
        {
            let mut waiting = self.lock();
            waiting.last = true;
            if waiting.drawn {
                waiting.progress = Some(String::new());
            }
            waiting.lines.push_back(last);
        }
        self.0.changed.notify_all();
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

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No thread panics while it holds this; if one did, the lines would still be good.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
                self.0.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// The next piece to write; none behind the last line. `erased`: the line of progress is not where it was.
    fn next(&self, erased: bool) -> Option<Piece> {
        let mut waiting = self.lock();
        loop {
            if let Some(piece) = waiting.take() {
                return Some(piece);
            }
            if waiting.last {
                return None;
            }
            if erased {
                return Some(Piece::Redraw);
            }
            waiting = self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write_to(&self, mut outlet: impl Write, columns: impl Fn() -> Option<usize>) {
        let (mut progress, mut erased) = (String::new(), false);
        while let Some(piece) = self.next(erased && !progress.is_empty()) {
            // If stderr is closed, there is no reader.
            match piece {
                Piece::Lines(lines) => {
                    if !progress.is_empty() && !erased {
                        outlet.write_all(CLEAR.as_bytes()).ok();
                    }
                    outlet.write_all(&lines).ok();
                    erased = true;
                }
                Piece::Progress(text, waiting) => {
                    draw(&mut outlet, &text, columns());
                    (progress, erased) = (text, false);
                    for waiting in waiting {
                        waiting.send(()).ok();
                    }
                }
                Piece::Redraw => {
                    draw(&mut outlet, &progress, columns());
                    erased = false;
                }
            }
        }
        self.lock().over = true;
        self.0.changed.notify_all();
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Piece> {
        // What is drawn no more is gone before the next line, and what is new stands below the last one.
        let clears = self.progress.as_ref().is_some_and(String::is_empty);
        if !clears && self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            let what = if dropped == 1 { "line of the log was" } else { "lines of the log were" };
            let text = format!("{dropped} {what} dropped: nobody read in time\n");
            return Some(Piece::Lines(text.into_bytes()));
        }
        if !clears && let Some(lines) = self.lines.pop_front() {
            self.bytes = self.bytes.saturating_sub(lines.len());
            return Some(Piece::Lines(lines));
        }
        let progress = self.progress.take()?;
        Some(Piece::Progress(progress, std::mem::take(&mut self.drawing)))
    }
}

fn draw(outlet: &mut impl Write, text: &str, columns: Option<usize>) {
    let text = fit::cut(text, columns.unwrap_or(usize::MAX));
    outlet.write_all(format!("{CLEAR}{text}").as_bytes()).ok();
}

/// The columns of the terminal, where stderr is one.
fn columns() -> Option<usize> {
    terminal::columns(io::stderr())
}

/// Takes one line with each write, and never waits.
impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "stderr_tests.rs"]
mod tests;
