//! The one line of our terminal that is drawn over itself, by a thread of its own: a terminal that is held
//! (Ctrl-S) or gone keeps its writer waiting for as long as it likes, and the callers here have
//! requests or a stop to see to.
//!
//! The indicatif crate draws from the thread that calls it, or from one that ticks; both would wait for that
//! terminal.

use std::io::{self, IsTerminal as _, Write};
use std::pin::Pin;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use host_lifecycle::ProgressLine;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::outlet;

/// What follows on the terminal waits this long for the line to be cleared.
const CLEAR_PATIENCE: Duration = Duration::from_millis(200);

/// The line of stderr. None if that is no terminal, or there was no thread to be had: then nothing is drawn.
pub(crate) fn line() -> Option<&'static Line> {
    static LINE: LazyLock<Option<Line>> = LazyLock::new(|| {
        let terminal = io::stderr().is_terminal().then(outlet::stderr)?;
        Line::on(terminal).ok()
    });
    LINE.as_ref()
}

/// The same, for a stop.
pub(crate) fn progress_line() -> Option<&'static dyn ProgressLine> {
    line().map(|line| line as _)
}

/// A line that is drawn over itself, as fast as its terminal takes it: of what is to be drawn meanwhile the
/// last stays.
#[derive(Debug)]
pub(crate) struct Line(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    wish: Mutex<Wish>,
    changed: Condvar,
}

/// What is to be drawn next.
#[derive(Debug, Default)]
struct Wish {
    text: Option<String>,
    /// Something has been drawn, ever.
    used: bool,
    /// Are told once that, or what came later, has been drawn.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Line {
    fn on(terminal: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let artist = shared.clone();
        thread::Builder::new().name("progress".into()).spawn(move || artist.draw_on(terminal))?;
        Ok(Self(shared))
    }

    /// Has `text` drawn in place of what is there; nothing clears the line. Never waits.
    pub(crate) fn draw(&self, text: String) {
        {
            let mut wish = self.0.lock();
            (wish.text, wish.used) = (Some(text), true);
        }
        self.0.changed.notify_one();
    }

    /// Clears the line before anything else is written, unless the terminal is held.
    pub(crate) async fn clear(&self) {
        let (done, cleared) = oneshot::channel();
        {
            let mut wish = self.0.lock();
            if !wish.used {
                return;
            }
            wish.text = Some(String::new());
            wish.waiting.push(done);
        }
        self.0.changed.notify_one();
        timeout(CLEAR_PATIENCE, cleared).await.ok();
    }
}

impl ProgressLine for Line {
    fn draw(&self, text: String) {
        self.draw(text);
    }

    fn clear(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.clear())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw_on(&self, mut terminal: impl Write) {
        loop {
            let (text, waiting) = self.next();
            let line = format!("\r\x1b[2K{text}");
            // If the terminal has gone, there is nothing to draw on.
            terminal.write_all(line.as_bytes()).ok();
            for waiting in waiting {
                waiting.send(()).ok();
            }
        }
    }

    /// What to draw, and the callers that wait for it.
    fn next(&self) -> (String, Vec<oneshot::Sender<()>>) {
        let mut wish = self.lock();
        loop {
            if let Some(text) = wish.text.take() {
                return (text, std::mem::take(&mut wish.waiting));
            }
            wish = self.changed.wait(wish).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Takes what is written only when it is read.
    struct Held(SyncSender<String>);

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.send(text).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn held() -> (Line, Receiver<String>) {
        let (send, reader) = sync_channel(0);
        (Line::on(Held(send)).unwrap(), reader)
    }

    /// The progress of a compile was drawn by the worker: with the terminal held, it answered no request any more.
    #[tokio::test(start_paused = true)]
    async fn drawing_on_a_terminal_that_is_held_does_not_wait() {
        let (line, reader) = held();
        line.draw("first".into());
        assert_eq!(reader.recv().unwrap(), "\r\x1b[2Kfirst");
        // The thread may be at the first of these: it is not read.
        (1..=100).for_each(|number| line.draw(number.to_string()));
        line.clear().await;
        let rest: Vec<_> = reader.iter().take_while(|text| text != "\r\x1b[2K").collect();
        assert!(rest.len() <= 1, "it is drawn later than the last: {rest:?}");
    }

    #[tokio::test]
    async fn a_line_is_clear_before_anything_else_is_written() {
        let (line, reader) = held();
        let reading = thread::spawn(move || reader.iter().take(2).collect::<Vec<_>>());
        line.draw("10 s".into());
        while !reading.is_finished() {
            line.clear().await;
        }
        assert_eq!(reading.join().unwrap().last().unwrap(), "\r\x1b[2K");
    }
}
