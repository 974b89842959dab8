//! The line of our terminal that a stop draws its progress on.

use std::pin::Pin;

use host_lifecycle::ProgressLine;
use host_log::Stderr;

/// The line below the log, for a stop.
#[derive(Debug)]
struct BottomLine(&'static Stderr);

/// None if stderr is no terminal, or there was no thread to be had: then nothing is drawn.
pub(crate) fn progress_line() -> Option<Box<dyn ProgressLine>> {
    Stderr::terminal().map(|terminal| Box::new(BottomLine(terminal)) as _)
}

impl ProgressLine for BottomLine {
    fn draw(&self, text: String) {
        self.0.draw(text);
    }

    fn clear(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.0.clear())
    }
}
