//! The header of the PROXY protocol, which stands before everything else on a connection: who the client is, by the
//! word of a proxy that understands nothing above TCP. (HAProxy's `proxy-protocol.txt`, versions 1 and 2.)
//!
//! Own code: the header has to be read to the byte, because TLS or HTTP begins behind it, and the crates that there are
//! (`ppp`, `proxy-header`, `proxy-protocol`) want it whole in a buffer and do not say how much of it is still to come.

mod header;
mod version_1;
mod version_2;

pub use header::{ProxyHeader, ProxyHeaderFault, ProxyHeaderStep, ProxySource};
use version_1::WORD;
pub use version_2::MOST_BYTES;
use version_2::SIGNATURE;

impl ProxyHeader {
    /// Reads a header from its first bytes, and from nothing that stands behind it.
    ///
    /// # Errors
    /// These bytes are no header, or not the beginning of one.
    pub fn read(bytes: &[u8]) -> Result<ProxyHeaderStep, ProxyHeaderFault> {
        let begins = |with: &[u8]| bytes.iter().zip(with).all(|(byte, with)| byte == with);
        match (begins(SIGNATURE), begins(WORD)) {
            // Neither version has fewer bytes than the signature: `PROXY UNKNOWN` has one more.
            (true, true) => Ok(ProxyHeaderStep::Needs(SIGNATURE.len())),
            (true, false) => version_2::read(bytes),
            (false, true) => version_1::read(bytes),
            (false, false) => Err(ProxyHeaderFault::Missing),
        }
    }
}
