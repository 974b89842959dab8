//! Why a compiling child made nothing.

use std::error::Error;
use std::fmt;
use std::io;

use rustix::io::Errno;
use wasmtime::OutOfMemory;

/// Why the child made nothing. The parent tells these apart by the exit code, because parts of the words may
/// come from the component.
#[derive(Debug)]
pub enum ChildFailure {
    /// This process cannot even try.
    Unable(String),
    /// The component does not compile.
    Refused(String),
    /// It took all the memory that this process may use.
    NoMemory(String),
}

impl ChildFailure {
    pub(crate) const UNABLE: u8 = 3;
    pub(crate) const REFUSED: u8 = 10;
    pub(crate) const NO_MEMORY: u8 = 11;

    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Unable(_) => Self::UNABLE,
            Self::Refused(_) => Self::REFUSED,
            Self::NoMemory(_) => Self::NO_MEMORY,
        }
    }
}

impl fmt::Display for ChildFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unable(why) | Self::Refused(why) | Self::NoMemory(why) => f.write_str(why),
        }
    }
}

impl From<wasmtime::Error> for ChildFailure {
    fn from(why: wasmtime::Error) -> Self {
        let words = one_line(&why.chain().map(ToString::to_string).collect::<Vec<_>>().join(": "));
        if why.chain().any(is_of_memory) { Self::NoMemory(words) } else { Self::Refused(words) }
    }
}

/// Whether the kernel or the engine ran out of memory.
pub(crate) fn is_of_memory(why: &(dyn Error + 'static)) -> bool {
    let kernel = |why: &io::Error| {
        why.kind() == io::ErrorKind::OutOfMemory
            || why.raw_os_error() == Some(Errno::NOMEM.raw_os_error())
    };
    why.is::<OutOfMemory>()
        || why.downcast_ref::<io::Error>().is_some_and(kernel)
        || why.downcast_ref::<Errno>() == Some(&Errno::NOMEM)
}

/// All words in one line: the parent quotes it.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(why: impl Into<wasmtime::Error>) -> u8 {
        ChildFailure::from(why.into()).code()
    }

    #[test]
    fn a_shortage_of_memory_is_recognized_by_the_kind_of_error() {
        let mapping =
            || wasmtime::Error::from(io::Error::from(Errno::NOMEM)).context("mmap failed");
        assert_eq!(end(mapping()), ChildFailure::NO_MEMORY);
        assert_eq!(
            end(wasmtime::Error::from(Errno::NOMEM).context("mmap")),
            ChildFailure::NO_MEMORY
        );
        assert_eq!(end(io::Error::from(io::ErrorKind::OutOfMemory)), ChildFailure::NO_MEMORY);
        assert_eq!(end(OutOfMemory::new(8)), ChildFailure::NO_MEMORY);
        assert_eq!(
            end(wasmtime::Error::msg("export `out of memory` twice")),
            ChildFailure::REFUSED
        );
        assert_eq!(end(io::Error::from(Errno::PERM)), ChildFailure::REFUSED);
    }
}
