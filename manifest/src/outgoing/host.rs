//! Host names and addresses as they stand in a URI.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stands before the port: one spelling for each host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UriHost {
    /// A name in lower case, without a dot at its end.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Longest name in DNS as text (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 253;

/// Longest part of a name between two dots.
const LONGEST_LABEL: usize = 63;

impl UriHost {
    /// Reads the host of a URI: a name in any case, perhaps with one dot at its end; an IPv4
    /// address of four decimal numbers; an IPv6 address in brackets.
    ///
    /// None if it is anything else. So are `127.1`, `0x7f000001`, `0177.0.0.1` and `2130706433`:
    /// resolvers take them for addresses, which a list of names must not let through.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(inside) = text.strip_prefix('[') {
            let ip: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(ip.into()));
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(ip.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        (is_name(name) && !ends_in_number(name)).then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for UriHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// Letters, digits, `-` and `_` (which DNS knows and people use), in labels of 1 to 63.
pub(super) fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.len() <= LONGEST_NAME && text.split('.').all(is_label)
}

/// Whether resolvers take the name for an IPv4 address (the rule of the WHATWG's URL standard, "ends
/// in a number").
pub(super) fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let digits = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let hex = last
        .strip_prefix("0x")
        .or_else(|| last.strip_prefix("0X"))
        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    digits || hex
}
