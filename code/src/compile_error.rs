//! Why a component was not compiled.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::Damaged;

/// Why a component was not compiled, in words that follow its name. Says what to do where something can be
/// done.
#[derive(Debug, Error)]
pub enum CompileError {
    /// Other compiles held all places for too long.
    #[error("was not compiled: others still are, after {0:?}; ask again later")]
    Busy(Duration),
    /// It was killed at its deadline.
    #[error("did not compile within {0:?}; raise --compile-timeout")]
    TooSlow(Duration),
    /// It was killed at its deadline, and had hardly run by then.
    #[error(
        "did not compile within {time:?}; raise --compile-timeout, or ask again when the machine has less to \
         do: it had {cpu:?} of a core"
    )]
    Starved {
        /// When it was killed.
        time: Duration,
        /// The CPU time that it had.
        cpu: Duration,
    },
    /// Its text was not parsed in time. No flag raises that limit.
    #[error("was not parsed within {0:?}; make a .wasm file of it with `wasm-tools parse`")]
    LongText(Duration),
    /// It used all its CPU time.
    #[error("was not compiled: that took more than {0:?} of CPU time (--compile-timeout)")]
    Cpu(Duration),
    /// It wanted more memory than its limit.
    #[error("was not compiled: compiling took more than {} (--compile-memory)", size(*.0))]
    Memory(u64),
    /// The compiler refused it.
    #[error("does not compile: {0}")]
    Refused(String),
    /// The output is larger than this process can hold.
    #[error("was not compiled: what comes of it is more than {}", size(*.0))]
    TooLarge(u64),
    /// The child could not even try.
    #[error("was not compiled: the compiler cannot work here: {0}")]
    Unable(String),
    /// The child was killed: by the kernel, when memory ran out, or by an operator.
    #[error(
        "was not compiled: the compiler was killed, by the kernel for want of memory or by \
         somebody; try again, or with less --compile-memory"
    )]
    Killed,
    /// A bug of the compiler.
    #[error("was not compiled: the compiler failed ({how}){}", said(.words))]
    Failed {
        /// How it ended.
        how: String,
        /// Its last words.
        words: String,
    },
    /// The system gave no process.
    #[error("was not compiled: the compiler cannot be started: {0}{hint}", hint = without_proc(.0))]
    NoProcess(io::Error),
    /// Its output is damaged.
    #[error("was not compiled: what the compiler gave is not whole: {0}")]
    Garbled(Damaged),
}

impl CompileError {
    /// The same error for a text, which may take `most`, whatever the flags say.
    pub(crate) fn for_text(self, most: Duration) -> Self {
        match self {
            Self::TooSlow(time) if time == most => Self::LongText(time),
            why => why,
        }
    }

    /// Whether the cause is not the component, so that it may compile a moment later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Busy(_) | Self::Killed | Self::NoProcess(_) | Self::Garbled(_) => true,
            Self::Unable(_) | Self::Starved { .. } => true,
            Self::TooSlow(_)
            | Self::LongText(_)
            | Self::Cpu(_)
            | Self::Memory(_)
            | Self::Refused(_) => false,
            Self::Failed { .. } | Self::TooLarge(_) => false,
        }
    }
}

/// A hint for a system without /proc, where the child's program is.
fn without_proc(why: &io::Error) -> &'static str {
    let missing = why.kind() == io::ErrorKind::NotFound;
    if missing { "; it is started from /proc/self/exe: is /proc mounted?" } else { "" }
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

/// A size as it is written on a command line.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let exact = units.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    exact.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_on_a_command_line() {
        for (bytes, says) in
            [(1 << 30, "1GiB"), (200 << 20, "200MiB"), (65_536, "64KiB"), (1, "1B")]
        {
            assert_eq!(size(bytes), says);
        }
    }
}
