//! What is granted, as far as this crate has to know.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use http::uri::Scheme;

/// What a guest is granted.
///
/// Hosts come in lower case, an IPv6 address without brackets, an address of IPv4 in IPv6 clothes
/// (`::ffff:127.0.0.1`) as the IPv4 address that it is. Other spellings of addresses (`127.1`,
/// `0x7f000001`, `2130706433`) are names here; the system resolves them, and the address is judged.
pub trait Policy: Send + Sync + 'static {
    /// Whether requests may be sent to this origin at all.
    fn admits_name(&self, scheme: &Scheme, host: &str, port: u16) -> bool;

    /// Whether a host whose name was admitted may be this address.
    fn admits_address(&self, host: &str, address: SocketAddr) -> bool;
}

/// The policy, and what no policy may grant.
#[derive(Clone)]
pub(crate) struct Judge {
    policy: Arc<dyn Policy>,
    forbidden: Forbidden,
}

impl Judge {
    pub(crate) fn new(policy: Arc<dyn Policy>, forbidden: Vec<SocketAddr>) -> Self {
        Self { policy, forbidden: Forbidden::new(forbidden) }
    }

    pub(crate) fn admits_name(&self, scheme: &Scheme, host: &str, port: u16) -> bool {
        self.policy.admits_name(scheme, host, port)
    }

    /// Takes a canonical address.
    pub(crate) fn admits_address(&self, host: &str, address: SocketAddr) -> bool {
        !self.forbidden.has(address) && self.policy.admits_address(host, address)
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("forbidden", &self.forbidden).finish_non_exhaustive()
    }
}

/// Listeners of this process that are not for guests.
#[derive(Clone, Debug)]
pub(crate) struct Forbidden(Arc<[SocketAddr]>);

impl Forbidden {
    pub(crate) fn new(listeners: Vec<SocketAddr>) -> Self {
        Self(listeners.into_iter().map(canonical).collect())
    }

    /// Whether a canonical address is one of them. Nobody *is* at the unspecified address: Linux
    /// connects it to this machine, so it is refused altogether, and so is all of 0.0.0.0/8.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        let nowhere = match address.ip() {
            IpAddr::V4(ip) => ip.octets()[0] == 0,
            IpAddr::V6(ip) => ip.is_unspecified(),
        };
        nowhere || self.0.iter().any(|listener| meets(*listener, address))
    }
}

/// Whether connecting to an address may end at a listener.
fn meets(listener: SocketAddr, address: SocketAddr) -> bool {
    listener.port() == address.port()
        && (listener.ip() == address.ip()
            || listener.ip().is_unspecified() && is_of_this_machine(address.ip()))
}

/// Only addresses of this machine can be bound. No packet is sent.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// An address of IPv4 in IPv6 clothes is the IPv4 address (RFC 4291 §2.5.5.2): the kernel connects
/// there, so it is judged as that.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
