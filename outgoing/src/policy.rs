//! What is granted, and what no grant may reach.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use host_manifest::outgoing::{self, Origin, PolicyDecision, Reach, admits_address};

use crate::SendError;
use crate::destination::Destination;

/// The grants of one client.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    origins: Arc<[Origin]>,
    reach: Reach,
    forbidden: Forbidden,
}

impl Policy {
    pub(crate) fn new(origins: Vec<Origin>, reach: Reach, forbidden: Vec<SocketAddr>) -> Self {
        Self { origins: origins.into(), reach, forbidden: Forbidden::new(forbidden) }
    }

    /// The grant that admits requests there.
    pub(crate) fn granting(&self, destination: &Destination) -> Option<&Origin> {
        let Destination { scheme, host, port } = destination;
        let host = host.to_string();
        self.origins.iter().find(|origin| origin.admits(scheme, &host, *port))
    }

    /// Whether requests may be sent there at all.
    pub(crate) fn check(&self, destination: &Destination) -> Result<(), SendError> {
        let Destination { scheme, host, port } = destination;
        match outgoing::check(&self.origins, &self.reach, scheme, &host.to_string(), *port) {
            PolicyDecision::Admitted => Ok(()),
            PolicyDecision::Malformed => Err(SendError::Uri("its host or its port is not one")),
            PolicyDecision::NotNamed => Err(SendError::Denied { origin: destination.to_string() }),
            PolicyDecision::Address(_) => Err(SendError::AddressDenied {
                host: host.to_string(),
                port: *port,
                addresses: host.to_string(),
            }),
        }
    }

    /// Whether a connection for a host that was admitted may go to an address.
    pub(crate) fn admits(&self, destination: &Destination, address: SocketAddr) -> bool {
        let Destination { host, port, .. } = destination;
        !self.forbidden.covers(address)
            && admits_address(&self.origins, &self.reach, &host.to_string(), address.ip(), *port)
    }
}

/// Listeners of this process that are not for guests.
#[derive(Clone, Debug)]
pub(crate) struct Forbidden(Arc<[SocketAddr]>);

impl Forbidden {
    pub(crate) fn new(listeners: Vec<SocketAddr>) -> Self {
        Self(listeners.into_iter().map(canonical).collect())
    }

    /// Whether connecting to an address may end at one of them.
    pub(crate) fn covers(&self, address: SocketAddr) -> bool {
        let address = canonical(address);
        self.0.iter().any(|listener| {
            listener.port() == address.port()
                && (listener.ip() == address.ip()
                    || listener.ip().is_unspecified() && is_of_this_machine(address.ip()))
        })
    }
}

/// Only addresses of this machine can be bound. No packet is sent.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// An address of IPv4 in IPv6 clothes is the IPv4 address (RFC 4291 §2.5.5.2): the kernel connects
/// there.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(listener: &str, address: &str) -> bool {
        Forbidden::new(vec![listener.parse().unwrap()]).covers(address.parse().unwrap())
    }

    #[test]
    fn a_forbidden_listener_is_met_by_its_address_in_any_clothes() {
        assert!(has("127.0.0.1:8081", "127.0.0.1:8081"));
        assert!(has("127.0.0.1:8081", "[::ffff:127.0.0.1]:8081"));
        assert!(has("[::1]:8081", "[::1]:8081"));
        assert!(!has("127.0.0.1:8081", "127.0.0.1:8080"));
        assert!(!has("127.0.0.1:8081", "127.0.0.2:8081"));
    }

    #[test]
    fn a_forbidden_listener_on_all_addresses_is_met_by_those_of_this_machine() {
        for listener in ["0.0.0.0:8081", "[::]:8081"] {
            assert!(has(listener, "127.0.0.3:8081"));
            assert!(has(listener, "[::1]:8081"));
            assert!(!has(listener, "127.0.0.1:8080"));
            // TEST-NET-1: no machine has it.
            assert!(!has(listener, "192.0.2.1:8081"));
        }
    }
}
