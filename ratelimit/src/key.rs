//! What is counted apart.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

/// What is counted apart. Two that are equal share one burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateKey<'a> {
    /// The client with this address of IPv4.
    V4(u32),
    /// The clients in this network of IPv6, a /64: as much as one subscriber gets at least (RFC 6177), who can take
    /// any address in it.
    V6(u64),
    /// A text that stands in a request: in a header, or the name of a host.
    Text(&'a [u8]),
    /// All that have none: no address (of a Unix socket), or no such header, or several.
    Absent,
}

impl RateKey<'_> {
    /// That of the client with this address. An IPv4 address in IPv6 (`::ffff:192.0.2.7`) is that of IPv4.
    #[must_use]
    pub fn client(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => Self::V4(address.to_bits()),
            Some(IpAddr::V6(address)) => Self::V6((address.to_bits() >> 64) as u64),
            None => Self::Absent,
        }
    }
}

/// A key as it is held: of one size, however long the text is.
pub(crate) type HeldKey = [u64; 2];

/// Makes keys out of texts. Keyed, so that no client can choose a text that is taken for another one's.
#[derive(Debug, Default)]
pub(crate) struct KeyHasher([RandomState; 2]);

impl KeyHasher {
    /// Two texts with the same 128 bits do not happen. Nor does one that looks like no text: a limiter has keys of one
    /// kind, beside [`RateKey::Absent`].
    pub(crate) fn held(&self, key: RateKey<'_>) -> HeldKey {
        match key {
            RateKey::Absent => [0, 0],
            RateKey::V4(address) => [1, address.into()],
            RateKey::V6(network) => [2, network],
            RateKey::Text(text) => self.0.each_ref().map(|hasher| hasher.hash_one(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> RateKey<'static> {
        RateKey::client(Some(address.parse().unwrap()))
    }

    #[test]
    fn a_client_of_ipv6_is_its_network() {
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
        assert_ne!(key("192.0.2.8"), key("192.0.2.7"));
    }

    #[test]
    fn held_keys_are_as_different_as_keys() {
        let hasher = KeyHasher::default();
        let all = [key("0.0.0.0"), key("::"), key("::1:0:0:0:0"), RateKey::Absent]
            .into_iter()
            .chain(["", "a", "b"].map(|text| RateKey::Text(text.as_bytes())));
        let held: Vec<HeldKey> = all.map(|key| hasher.held(key)).collect();
        for (index, one) in held.iter().enumerate() {
            assert_eq!(held.iter().position(|other| other == one), Some(index));
        }
        assert_eq!(hasher.held(RateKey::Text(b"a")), held[5]);
    }
}
