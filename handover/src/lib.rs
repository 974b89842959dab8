//! How a running host hands its sockets and its state to the one that takes over.
//!
//! ```text
//!   the host that serves                     its successor
//!   ── hello ──────────────────────────────→
//!   ←────────────────────────────── hello ──
//!   ── listeners (descriptors) ────────────→  loads, proves itself
//!   ←────────────────────── ready, or no ──
//!   ── yours (keys) ───────────────────────→  accepts
//!   ←────────────────────────── accepting ──
//!   accepts no more
//!   ── connections (descriptors) … ────────→  serves them
//!   ── done ───────────────────────────────→
//!   ←────────────────────────────── taken ──
//!   ── settled ────────────────────────────→
//!   drains, and hands on what becomes idle
//!   ── connections … ──────────────────────→
//!   ends                                      has all for itself
//! ```
//!
//! If a stop was asked of the first one meanwhile, it says *stop* behind *settled*, and *drained* when it serves nobody any
//! more; then it waits for the successor's end.
//!
//! A process between the two starts the successor (*started*), and is gone before the successor becomes the service.
//!
//! Until *taken* the first one can take everything back, and does if the other dies. Once the other is ready it takes
//! the end of the first one for *yours*. So at each moment one of them accepts, or both.
//!
//! A message is one packet of a Unix socket of type SEQPACKET: JSON, with its descriptors beside it (SCM_RIGHTS,
//! unix(7)). The socket is the successor's standard input. May not know HTTP, wasmtime or the host.

mod channel;
mod launcher;
mod message;
mod stop_point;

pub use channel::{Channel, ChannelError, MOST_DESCRIPTORS};
pub use launcher::launch;
pub use message::{
    ConnectionFacts, HandoverMessage, Hello, ListenerFacts, ListenerKind, ListenerOrigin, PROTOCOL,
};
pub use stop_point::StopPoint;
