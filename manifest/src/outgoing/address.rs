//! Kinds of IP addresses: the registries of IANA for special-purpose addresses (RFC 6890), and
//! IPv4 addresses inside of IPv6 ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Kinds of addresses beyond public ones that a granted name may resolve to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// 127.0.0.0/8, ::1.
    pub loopback: bool,
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7.
    pub private: bool,
    /// 169.254.0.0/16, fe80::/10, and where clouds keep their metadata elsewhere: 168.63.129.16,
    /// 100.100.100.200, fd00:ec2::254, fd20:ce::254.
    pub link_local: bool,
}

impl Reach {
    /// Whether a name may lead to `ip`.
    #[must_use]
    pub fn admits(&self, ip: IpAddr) -> bool {
        match AddressKind::classify(ip) {
            AddressKind::Public => true,
            AddressKind::Loopback => self.loopback,
            AddressKind::Private => self.private,
            AddressKind::LinkLocal => self.link_local,
            AddressKind::Never => false,
        }
    }
}

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// Routed everywhere.
    Public,
    /// This machine.
    Loopback,
    /// This site.
    Private,
    /// This link.
    LinkLocal,
    /// For no server: unspecified, multicast, broadcast, for documentation, reserved.
    Never,
}

impl AddressKind {
    /// The kind of `ip`. An IPv6 address that carries an IPv4 one has the kind of that.
    #[must_use]
    pub fn classify(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::classify_v4(ip),
            IpAddr::V6(ip) => Self::classify_v6(ip),
        }
    }

    fn classify_v4(ip: Ipv4Addr) -> Self {
        let found = SPECIAL_V4.iter().find(|(net, _)| net.contains(&ip));
        found.map_or(Self::Public, |&(_, kind)| kind)
    }

    fn classify_v6(ip: Ipv6Addr) -> Self {
        // `::` and `::1` lie within the range that carries IPv4 addresses.
        match ip {
            Ipv6Addr::UNSPECIFIED => return Self::Never,
            Ipv6Addr::LOCALHOST => return Self::Loopback,
            _ => {}
        }
        if let Some(inner) = carried(ip) {
            return Self::classify_v4(inner);
        }
        let found = SPECIAL_V6.iter().find(|(net, _)| net.contains(&ip));
        // Outside of what IANA gives out (2000::/3) there is no server.
        found.map_or(Self::Never, |&(_, kind)| kind)
    }

    /// How a manifest names it, if it is one that a manifest can grant.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Loopback => Some("loopback"),
            Self::Private => Some("private"),
            Self::LinkLocal => Some("link-local"),
            Self::Public | Self::Never => None,
        }
    }
}

/// The IPv4 address inside of an IPv6 address, where packets may end up there.
fn carried(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let bytes = ip.octets();
    let at = CARRIERS.iter().find(|(net, _)| net.contains(&ip)).map(|&(_, at)| at)?;
    let inner: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(inner.into())
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

/// The range that begins with `head`, then zeros.
const fn v6(head: [u16; 6], length: u8) -> Ipv6Net {
    let [a, b, c, d, e, f] = head;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, 0, 0), length)
}

/// `a:b::254` alone.
const fn metadata_v6(a: u16, b: u16) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0x254), 128)
}

/// Ranges with the byte at which the IPv4 address stands.
const CARRIERS: [(Ipv6Net, usize); 5] = [
    // IPv4-compatible, RFC 4291 section 2.5.5.1.
    (v6([0, 0, 0, 0, 0, 0], 96), 12),
    // IPv4-mapped, RFC 4291 section 2.5.5.2.
    (v6([0, 0, 0, 0, 0, 0xffff], 96), 12),
    // IPv4-translated, RFC 2765 section 2.1.
    (v6([0, 0, 0, 0, 0xffff, 0], 96), 12),
    // NAT64, RFC 6052. That of RFC 8215, 64:ff9b:1::/48, has no fixed place for it, so it is for no server.
    (v6([0x64, 0xff9b, 0, 0, 0, 0], 96), 12),
    // 6to4, RFC 3056.
    (v6([0x2002, 0, 0, 0, 0, 0], 16), 2),
];

/// The first that fits says the kind; all others are public. What answers for the machine that asks, as
/// others do at 169.254.169.254, has secrets for a process that asks: it comes before the range that it is in.
const SPECIAL_V4: [(Ipv4Net, AddressKind); 18] = [
    // Azure.
    (v4(168, 63, 129, 16, 32), AddressKind::LinkLocal),
    // Alibaba Cloud.
    (v4(100, 100, 100, 200, 32), AddressKind::LinkLocal),
    (v4(127, 0, 0, 0, 8), AddressKind::Loopback),
    (v4(10, 0, 0, 0, 8), AddressKind::Private),
    (v4(172, 16, 0, 0, 12), AddressKind::Private),
    (v4(192, 168, 0, 0, 16), AddressKind::Private),
    // Between a provider and its customers (RFC 6598), and inside of clouds.
    (v4(100, 64, 0, 0, 10), AddressKind::Private),
    (v4(169, 254, 0, 0, 16), AddressKind::LinkLocal),
    (v4(0, 0, 0, 0, 8), AddressKind::Never),
    // Protocol assignments (RFC 6890).
    (v4(192, 0, 0, 0, 24), AddressKind::Never),
    // Documentation (RFC 5737).
    (v4(192, 0, 2, 0, 24), AddressKind::Never),
    (v4(198, 51, 100, 0, 24), AddressKind::Never),
    (v4(203, 0, 113, 0, 24), AddressKind::Never),
    // Relays of 6to4, given up (RFC 7526).
    (v4(192, 88, 99, 0, 24), AddressKind::Never),
    // Benchmarks (RFC 2544).
    (v4(198, 18, 0, 0, 15), AddressKind::Never),
    (v4(224, 0, 0, 0, 4), AddressKind::Never),
    // Reserved (RFC 1112), and the broadcast address.
    (v4(240, 0, 0, 0, 4), AddressKind::Never),
    (v4(255, 255, 255, 255, 32), AddressKind::Never),
];

/// The first that fits says the kind; metadata first, as above.
const SPECIAL_V6: [(Ipv6Net, AddressKind); 8] = [
    // AWS.
    (metadata_v6(0xfd00, 0xec2), AddressKind::LinkLocal),
    // Google Cloud.
    (metadata_v6(0xfd20, 0xce), AddressKind::LinkLocal),
    (v6([0xfc00, 0, 0, 0, 0, 0], 7), AddressKind::Private),
    (v6([0xfe80, 0, 0, 0, 0, 0], 10), AddressKind::LinkLocal),
    // Protocol assignments (RFC 2928), among them Teredo, which hides an IPv4 address.
    (v6([0x2001, 0, 0, 0, 0, 0], 23), AddressKind::Never),
    // Documentation (RFC 3849, RFC 9637).
    (v6([0x2001, 0xdb8, 0, 0, 0, 0], 32), AddressKind::Never),
    (v6([0x3fff, 0, 0, 0, 0, 0], 20), AddressKind::Never),
    (v6([0x2000, 0, 0, 0, 0, 0], 3), AddressKind::Public),
];
