//! Who the client is: what proxies say of those before them, and whom of that a host believes.
//!
//! ```text
//! headers of a request ─→ elements, addresses ─┐
//!                                              ├─→ Forwarding ─→ ForwardedFields: what a guest reads
//! peer, TrustedProxies ────────────────────────┘
//! first bytes of a connection ─→ ProxyHeader
//! ```
//!
//! Bytes in, values out: no sockets, no clocks. A crate of its own, because all that it reads may be hostile: it is
//! tested and fuzzed in seconds.

mod address;
mod element;
mod fields;
mod forwarding;
mod names;
mod proxy;
mod trusted;

pub use fields::{ForwardedFields, remove_all, remove_claims};
pub use forwarding::{Forwarding, MOST_ENTRIES};
pub use names::{
    CERTIFICATE_FIELDS, CLIENT_CERT, CLIENT_CERT_CHAIN, CLIENT_CERT_SAN, CLIENT_CERT_SHA256,
    CLIENT_CERT_SUBJECT, dashed, is_claim,
};
pub use proxy::{MOST_BYTES, ProxyHeader, ProxyHeaderFault, ProxyHeaderStep, ProxySource};
pub use trusted::{TrustedProxies, TrustedProxy};
