//! The proxies that are believed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// One of the proxies that are believed, or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Those with these addresses.
    Network(IpNet),
    /// Those that connect to a Unix socket.
    Unix,
}

impl FromStr for TrustedProxy {
    type Err = String;

    /// `10.0.0.0/8`, `2001:db8::/32`, an address alone, or `unix`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network: IpNet = network.map_err(|_| {
            "neither a network nor an address; write 10.0.0.0/8, 2001:db8::/32, 192.0.2.1, or unix for a Unix \
             socket"
        })?;
        if let IpNet::V6(v6) = network
            && let Some(v4) = v6.addr().to_ipv4_mapped()
        {
            return Err(format!(
                "an IPv4 address written as one of IPv6, which no client has here; write {v4} and a prefix of IPv4"
            ));
        }
        if network.trunc() != network {
            let (trunc, address) = (network.trunc(), network.addr());
            let bits = network.prefix_len();
            return Err(format!(
                "there are bits behind the first {bits} of this network; write {trunc}, or {address} for the one \
                 address"
            ));
        }
        Ok(Self::Network(network))
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// The proxies that are believed; nobody by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<TrustedProxy>);

impl TrustedProxies {
    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the proxy with this address is; that on a Unix socket, which has none.
    #[must_use]
    pub fn has(&self, address: Option<IpAddr>) -> bool {
        let address = address.map(|address| address.to_canonical());
        self.0.iter().any(|one| match (one, &address) {
            (TrustedProxy::Network(network), Some(address)) => network.contains(address),
            (TrustedProxy::Unix, None) => true,
            _ => false,
        })
    }
}

impl FromIterator<TrustedProxy> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = TrustedProxy>>(proxies: I) -> Self {
        Self(proxies.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_believed_by_its_network_its_address_or_its_socket() {
        let proxies: TrustedProxies = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "unix"]
            .into_iter()
            .map(|text| text.parse::<TrustedProxy>().unwrap())
            .collect();
        for (address, trusted) in [
            ("10.255.0.1", true),
            ("11.0.0.0", false),
            ("::ffff:10.0.0.1", true),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("::1", false),
        ] {
            assert_eq!(proxies.has(address.parse().ok()), trusted, "{address}");
        }
        assert!(proxies.has(None));
        assert!(!TrustedProxies::from_iter(["0.0.0.0/0".parse().unwrap()]).has(None));
        assert!(!TrustedProxies::default().has(None));
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_to_write() {
        for (text, why) in [
            (
                "10.0.0.1/8",
                "there are bits behind the first 8 of this network; write 10.0.0.0/8, or 10.0.0.1 for",
            ),
            (
                "2001:db8::1/32",
                "there are bits behind the first 32 of this network; write 2001:db8::/32, or ",
            ),
            ("::ffff:10.0.0.0/104", "an IPv4 address written as one of IPv6"),
            ("10.0.0.0/33", "neither a network nor an address"),
            ("10.0.0.0/-1", "neither"),
            ("10.0.0", "neither"),
            ("10.0.0.0/8 ", "neither"),
            ("proxy.example", "neither"),
            ("fe80::1%eth0", "neither"),
            ("*", "neither"),
            ("", "neither"),
        ] {
            let told = text.parse::<TrustedProxy>().unwrap_err();
            assert!(told.starts_with(why), "{text}: {told}");
        }
    }

    #[test]
    fn one_shows_as_it_is_written() {
        for text in ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "unix"] {
            assert_eq!(text.parse::<TrustedProxy>().unwrap().to_string(), text);
        }
    }
}
