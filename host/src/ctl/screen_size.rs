//! How much room there is to print.

use std::io;

use rustix::termios::tcgetwinsize;

/// Where output is no terminal, or one that does not say.
const COLUMNS: usize = 80;

/// The room on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScreenSize {
    /// How long a line may be.
    pub(super) columns: usize,
    /// How many lines can be seen at once; none where output is no terminal.
    pub(super) rows: Option<usize>,
}

impl ScreenSize {
    /// Of stdout, now.
    pub(super) fn of_stdout() -> Self {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                Self { columns: size.ws_col.into(), rows: Some(size.ws_row.into()) }
            }
            _ => Self { columns: COLUMNS, rows: None },
        }
    }
}
