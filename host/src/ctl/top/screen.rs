//! The terminal, taken over and given back.

use std::io::{self, Write as _};
use std::panic;
use std::sync::Once;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use host_manifest::escape;

use crate::ctl::screen_size::ScreenSize;
use crate::ctl::table::{Cut, cut};

/// The alternate screen, with keys as they are pressed. Dropping it puts the terminal back as it was; so does a panic,
/// before it says what happened.
pub(super) struct TopScreen(());

impl TopScreen {
    pub(super) fn open() -> io::Result<Self> {
        restore_at_a_panic();
        enable_raw_mode()?;
        let screen = Self(());
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Draws these lines over what is there, in one write. What does not fit is not drawn.
    pub(super) fn draw(&self, lines: &[String], size: ScreenSize) -> io::Result<()> {
        let mut bytes = Vec::new();
        queue!(bytes, BeginSynchronizedUpdate)?;
        for (row, line) in (0..).zip(lines.iter().take(size.rows.unwrap_or(usize::MAX))) {
            // What others have named is no command to a terminal.
            let line = escape::lines(line);
            queue!(bytes, MoveTo(0, row))?;
            bytes.extend(cut(&line, size.columns, Cut::End).as_bytes());
            queue!(bytes, Clear(ClearType::UntilNewLine))?;
        }
        queue!(bytes, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&bytes)?;
        stdout.flush()
    }
}

impl Drop for TopScreen {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // If the terminal has gone, there is nothing to put back.
    execute!(io::stdout(), Show, LeaveAlternateScreen).ok();
    disable_raw_mode().ok();
}

fn restore_at_a_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let say = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            restore();
            say(what);
        }));
    });
}
