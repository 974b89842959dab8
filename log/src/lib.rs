//! What the process writes for people and for programs beside its answers: the log of the host, what guests
//! print, a line for each exchange; and stdout and stderr themselves.
//!
//! ```text
//! tracing event ──→ events ─→ line ─→ stderr: a thread, which has a terminal's line of progress too
//! ExchangeRecord ─→ access ─┬→ writer: a thread, to a file, a pipe or stderr
//! GuestLine ──────→ guest ──┘  (or a tracing event)
//! ```
//!
//! One rule for all of it: nothing waits for a reader that does not read, or for a disk. What finds no room is
//! dropped, counted, and said.
//!
//! May not know sockets, hyper, wasmtime, or the host.

mod access;
mod events;
pub mod fit;
mod guest;
mod host_log;
mod line;
pub mod outlet;
mod stderr;
pub mod terminal;
mod time;
mod writer;

pub use access::AccessLog;
pub use guest::{GuestFile, GuestLine};
pub use host_log::{Log, start};
pub use stderr::Stderr;
