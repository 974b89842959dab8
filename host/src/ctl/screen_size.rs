//! How much room there is to print.

use std::io;

use rustix::termios::tcgetwinsize;

/// Of a terminal that does not say how wide it is.
const COLUMNS: usize = 80;

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
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                Self { columns: size.ws_col.into(), rows: Some(size.ws_row.into()) }
            }
            Ok(_) => Self { columns: COLUMNS, rows: None },
            Err(_) => Self::UNBOUNDED,
        }
    }
}
