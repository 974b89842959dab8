//! For tests and fuzzing: addresses in the forms in which IPv6 carries those of IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `inner` as it is, mapped (RFC 4291 §2.5.5.2), compatible (§2.5.5.1), by NAT64 (RFC 6052), by 6to4
/// (RFC 3056) or translated (RFC 2765 §2.1): `form` says which.
pub(crate) fn embed_v4(inner: Ipv4Addr, form: u8) -> IpAddr {
    let [a, b, c, d] = inner.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    match form % 6 {
        0 => inner.into(),
        1 => inner.to_ipv6_mapped().into(),
        2 => Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low).into(),
        3 => Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low).into(),
        4 => Ipv6Addr::new(0x2002, high, low, 1, 2, 3, 4, 5).into(),
        _ => Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low).into(),
    }
}
