//! The client of a request: who counts as its sender, for limits, logs and guests
//!.

use std::net::IpAddr;

use host_net::Peer;

/// The client of one request, as it counts for everything that asks who sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestClient {
    address: Option<IpAddr>,
}

impl RequestClient {
    /// That of a request which this peer has sent for itself.
    pub(super) fn of_peer(peer: &Peer) -> Self {
        Self { address: peer.address.map(|address| address.ip().to_canonical()) }
    }

    /// Its IP address; an IPv4 address is never written as one of IPv6. None where nothing says it: on a Unix
    /// socket, for example.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        let client = |address: &str| {
            RequestClient::of_peer(&Peer { address: address.parse().ok(), ..Peer::default() })
                .address()
        };
        assert_eq!(client("[::ffff:192.0.2.1]:80"), "192.0.2.1".parse().ok());
        assert_eq!(client("[2001:db8::1]:80"), "2001:db8::1".parse().ok());
        assert_eq!(client("unix"), None);
    }
}
