//! What the process tells its service manager, and the sockets that it is handed by it: systemd's protocols, which others
//! speak too.
//!
//! ```text
//! NOTIFY_SOCKET ←── Notifier          READY=1, STATUS=…, a datagram each; nothing ever waits for it
//! WATCHDOG_USEC ──→ watchdog_time
//! LISTEN_FDS    ──→ HandedSockets ──→ assign ──→ a socket for each listener, by name or by address
//! ```
//!
//! May not know HTTP, wasmtime or the host.

mod assign;
mod message;
mod notifier;
mod place;
mod sockets;

pub use assign::{AssignError, WantedListener, assign};
pub use message::{Message, fd_name};
pub use notifier::{Barrier, Notifier, prepare_successor};
pub use place::SocketPlace;
pub use sockets::{HandedError, HandedSocket, HandedSockets};

use std::env;
use std::time::Duration;

/// How long the service manager waits for a sign of life before it ends the process, if it does so. It is asked of this
/// process only: `WATCHDOG_PID` of another one means that it is not.
#[must_use]
pub fn watchdog_time() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|time| !time.is_zero())
}

/// How many descriptors the service manager keeps for the process that comes after this one (`FDSTORE`, since systemd 254;
/// `FileDescriptorStoreMax=` of the unit).
#[must_use]
pub fn stored_at_most() -> usize {
    env::var("FDSTORE").ok().and_then(|most| most.parse().ok()).unwrap_or_default()
}
