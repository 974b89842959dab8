//! The one way in which guests reach the network: HTTP requests, the check of TCP endpoints, and
//! look-ups of names.
//!
//! ```text
//! request ─→ destination ─→ policy (name) ─→ head.rs, framing.rs ─→ pool ─→ connect.rs ─→ response body
//!            (where)                         (clean)                 │       resolve, policy (address),
//!                                                                    │       dial: wire.rs, TLS, counted.rs
//!                                                                    └← retry.rs: once more, or not
//! ```
//!
//! A name is checked before anything is done for it, and so is every address that it resolves to. The
//! connection goes to one of the addresses that passed, so nothing is resolved twice.
//! Redirects are not followed, proxies of the environment are not used, and nothing but TCP is ever
//! connected, so a Unix socket such as the control socket cannot be reached.
//!
//! Knows nothing of wasmtime, components or instances, and writes nothing about refusals to the log:
//! each [`SendError`] has the sentence for it.

mod body;
mod client;
mod connect;
mod counted;
mod destination;
mod endpoints;
mod error;
mod exchange;
mod framing;
mod head;
mod hooked_io;
mod idle_timer;
mod limits;
mod lookup;
mod policy;
mod replay;
mod resolve;
mod retry;
#[cfg(test)]
mod tests;
mod trust;
mod upload;
mod wire;

pub use body::UpstreamBody;
pub use client::{HttpClient, names};
pub use endpoints::Endpoints;
pub use error::SendError;
pub use limits::{ClientLimits, Timeouts};
pub use lookup::{Lookup, LookupError};
pub use resolve::{Resolve, Resolved, SystemResolver};
pub use trust::Trust;
