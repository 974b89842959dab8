//! Certificates of the listeners: read, checked, chosen by the name that a client asks for, and replaced while
//! connections go on.
//!
//! ```text
//! files ─→ pem ─┬→ certificate ─→ by_name ─┐
//!               └→ authorities ────────────┼→ server_config ─→ reading ─→ store ─→ watch ─→ listeners
//!                  tickets ────────────────┘                                └────→ status
//! ```
//!
//! Reads files and blocks meanwhile; has no sockets and no tasks. Keys show up in no `Debug` and in no error. May not
//! know hyper, wasmtime or the host.

mod authorities;
mod by_name;
mod certificate;
mod error;
mod identity;
mod pem;
mod reading;
mod rfc4514;
mod server_config;
mod status;
mod store;
mod tickets;
mod validity;

pub use error::{CertificateError, ListenerError};
pub use identity::{AlternativeName, ClientIdentity, Fingerprint};
pub use status::{CertificateStatus, ListenerTlsStatus};
pub use store::{CertificateReload, CertificateStore, PreparedCertificates};
pub use tickets::{NoRandomness, TicketKeys};
pub use validity::{Validity, now};

#[cfg(test)]
mod handshake_tests;
#[cfg(test)]
mod pair_tests;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod test_authority;
