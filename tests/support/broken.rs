//! How connections break and end.

use std::{error, fmt, io};

/// Why awaited bytes did not come.
#[derive(Debug)]
pub enum Broken {
    /// The peer closed before the named part came.
    Fin(String),
    /// The peer reset the connection.
    Reset,
    /// Nothing came for too long.
    TimedOut(String),
    /// The bytes are not HTTP.
    Malformed(String),
    /// Another error of the system.
    Io(io::Error),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In order: the peer has sent everything.
    Fin,
    /// By a reset.
    Reset,
}

/// The state of a connection at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// Nothing: open, and no byte waits.
    Quiet,
    /// Bytes wait.
    Bytes,
    /// The peer has closed.
    Fin,
    /// The peer has reset.
    Reset,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fin(what) => write!(f, "the peer closed before {what}"),
            Self::Reset => f.write_str("the peer reset the connection"),
            Self::TimedOut(what) => write!(f, "no answer in time: {what} missing"),
            Self::Malformed(what) => write!(f, "not HTTP: {what}"),
            Self::Io(e) => e.fmt(f),
        }
    }
}

impl error::Error for Broken {}

/// The bytes are not HTTP: `what` they are.
pub fn malformed(what: &dyn fmt::Display) -> Broken {
    Broken::Malformed(what.to_string())
}

/// The reason in a system error, while waiting for `what`.
pub fn broken(error: io::Error, what: &str) -> Broken {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Broken::Reset,
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Broken::TimedOut(what.to_owned()),
        _ => Broken::Io(error),
    }
}
