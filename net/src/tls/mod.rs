//! TLS between the socket and the protocols.
//!
//! ```text
//! first bytes ─→ handshake ─→ session (read, write, look, close as a plain socket does)
//!                    │            │
//!                half_open     records: what has come and is not decrypted yet
//! ```
//!
//! rustls has the protocol; here stands what a server owes its peers around it: deadlines, bounds, and a stop that
//! loses nothing (docs/adr/0049).

mod half_open;
mod handshake;
mod outcome;
mod records;
mod session;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

use tokio::sync::watch;

pub(super) use half_open::HalfOpen;
pub(super) use handshake::{HandshakeFailure, HandshakeTerms, accept};
pub use outcome::HandshakeOutcome;
pub(super) use session::TlsSession;

/// What the handshakes of a listener are made with: each takes the newest.
pub type TlsConfigs = watch::Receiver<Arc<rustls::ServerConfig>>;
