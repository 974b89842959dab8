//! What can be done where output goes.

use std::env;
use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::os::fd::AsFd;

/// Of a terminal that does not say how wide it is.
const COLUMNS: usize = 80;

/// Whether `fd` is a terminal that knows commands: erase a line, move, change the colour. `TERM=dumb` says that it knows
/// none, as those of editors do.
#[must_use]
pub fn takes_commands(fd: impl AsFd) -> bool {
    fd.as_fd().is_terminal() && !is_dumb(env::var_os("TERM").as_deref())
}

/// The columns of a terminal at the moment; none where `fd` is none.
#[must_use]
pub fn columns(fd: impl AsFd) -> Option<usize> {
    let fd = fd.as_fd();
    let size = terminal_size::terminal_size_of(fd).map(|(width, _)| usize::from(width.0));
    size.or_else(|| fd.is_terminal().then_some(COLUMNS))
}

/// Whether colours are wanted there.
pub(crate) fn takes_colours(fd: impl AsFd) -> bool {
    takes_commands(fd) && !refuses_colours(env::var_os("NO_COLOR").as_deref())
}

fn is_dumb(term: Option<&OsStr>) -> bool {
    term == Some(OsStr::new("dumb"))
}

/// Whether `NO_COLOR` is set, to anything but the empty string (no-color.org).
fn refuses_colours(value: Option<&OsStr>) -> bool {
    value.is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_counts_unless_it_is_empty() {
        for (value, refuses) in
            [(None, false), (Some(""), false), (Some("1"), true), (Some("0"), true)]
        {
            assert_eq!(refuses_colours(value.map(OsStr::new)), refuses, "{value:?}");
        }
    }

    #[test]
    fn a_dumb_terminal_is_one_that_says_so() {
        for (term, dumb) in [(None, false), (Some("xterm"), false), (Some("dumb"), true)] {
            assert_eq!(is_dumb(term.map(OsStr::new)), dumb, "{term:?}");
        }
    }

    #[test]
    fn what_is_no_terminal_has_no_columns_and_takes_no_commands() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert_eq!(columns(&reader), None);
        assert!(!takes_commands(&writer) && !takes_colours(&writer));
    }
}
