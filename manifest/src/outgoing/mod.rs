//! Where a guest may connect to: the allow-list, in plain words and in code.
//!
//! ```text
//!   scheme, host, port ─→ check            does an origin name it?
//!        resolved to ─→ admits_address     may such a name lead to this address?
//! ```
//!
//! In plain words:
//!
//! - Nothing is allowed that no origin names: the scheme (if it says one), the whole host name or
//!   the end of it after `*.`, and the port are those of the origin.
//! - A name may lead to public addresses. Loopback, private and link-local ones need their own
//!   word, because the owner of a domain says what its names lead to.
//! - An address that stands in an origin as such is its own word, and no other spelling of it is.
//! - Addresses that no server can have (unspecified, multicast, reserved) are never allowed.
//!
//! Both steps are needed: between them the name is resolved, and what it resolves to may change.
//! A client must connect to an address that was admitted, and not resolve the name again.

mod address;
mod host;
mod origin;

use std::net::IpAddr;

use http::uri::Scheme;

pub use address::{AddressKind, Reach};
pub use host::UriHost;
pub use origin::{Endpoint, Origin};

/// What an allow-list says of an authority that a guest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyDecision {
    /// Go on: resolve it, and ask [`admits_address`] of what comes out.
    Admitted,
    /// No origin has this scheme, host and port.
    NotNamed,
    /// The host is no name and no address in its usual spelling, or the port is 0.
    Malformed,
    /// It is an address of a kind that is never allowed.
    Address(AddressKind),
}

/// Whether `origins` name this scheme, host and port. `host` is as a URI has it: a name in any case,
/// perhaps with a dot at its end, an IPv4 address, or an IPv6 address in brackets. For an address
/// the answer is final; a name has yet to be resolved.
#[must_use]
pub fn check(
    origins: &[Origin],
    reach: &Reach,
    scheme: &Scheme,
    host: &str,
    port: u16,
) -> PolicyDecision {
    let Some(asked) = UriHost::parse(host).filter(|_| port != 0) else {
        return PolicyDecision::Malformed;
    };
    if !origins.iter().any(|origin| origin.admits_host(scheme, &asked, port)) {
        return PolicyDecision::NotNamed;
    }
    match asked {
        UriHost::Address(ip) if !admits_address(origins, reach, host, ip, port) => {
            PolicyDecision::Address(AddressKind::classify(ip))
        }
        UriHost::Address(_) | UriHost::Name(_) => PolicyDecision::Admitted,
    }
}

/// Whether a connection for `host`, which some origin must name with this port, may go to `ip`.
/// `host` is what was given to [`check`]; `ip` is what it resolved to, or the address itself.
#[must_use]
pub fn admits_address(
    origins: &[Origin],
    reach: &Reach,
    host: &str,
    ip: IpAddr,
    port: u16,
) -> bool {
    let Some(asked) = UriHost::parse(host) else { return false };
    if !origins.iter().any(|origin| origin.names(&asked, port)) {
        return false;
    }
    match asked {
        UriHost::Name(_) => reach.admits(ip),
        UriHost::Address(literal) => {
            literal == ip && AddressKind::classify(ip) != AddressKind::Never
        }
    }
}

#[cfg(test)]
mod test_addresses;
#[cfg(test)]
mod tests;
