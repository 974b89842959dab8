//! How much room there is to print.

use std::io;

use host_log::terminal;
use rustix::termios::tcgetwinsize;

/// The room on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScreenSize {
    /// How long a line may be: a file, or `grep`, gets all of it.
    pub(super) columns: usize,
    /// How many lines can be seen at once; none where output is no terminal, or one that does not say.
    pub(super) rows: Option<usize>,
}

impl ScreenSize {
    /// No terminal: there is room for everything.
    pub(super) const UNBOUNDED: Self = Self { columns: usize::MAX, rows: None };

    /// Of stdout, now.
    pub(super) fn of_stdout() -> Self {
        let Some(columns) = terminal::columns(io::stdout()) else { return Self::UNBOUNDED };
        let said = tcgetwinsize(io::stdout()).ok();
        let said = said.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        Self { columns, rows: said.map(|size| size.ws_row.into()) }
    }
}
