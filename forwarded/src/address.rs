//! An address as proxies write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address in an entry of `X-Forwarded-For`, or in `for=` of `Forwarded` (RFC 7239 §6): with or without port, and
/// of IPv6 with or without brackets. None for `unknown`, a word with `_` in front, a zone, or anything else. One of
/// IPv4 is never given as one of IPv6.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || {
        let (address, port) = text.strip_prefix('[')?.split_once(']')?;
        let address = address.parse::<Ipv6Addr>().ok()?;
        (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(address.into())
    };
    let v4_with_port = || {
        let (address, port) = text.split_once(':')?;
        let address = address.parse::<Ipv4Addr>().ok()?;
        is_port(port).then_some(address.into())
    };
    let address = text.parse().ok().or_else(bracketed).or_else(v4_with_port);
    address.map(|address: IpAddr| address.to_canonical())
}

/// `node-port`: a number, or a word that hides it (RFC 7239 §6).
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(word) => {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !word.is_empty() && word.bytes().all(is_part)
        }
        None => text.parse::<u16>().is_ok() && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_however_proxies_write_it() {
        for (text, read) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:4711", Some("192.0.2.1")),
            ("192.0.2.1:_gazonk", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:DB8::1]:4711", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("[::ffff:c000:201]:80", Some("192.0.2.1")),
            // Seven groups with a port behind them could be eight groups: it is read as it stands.
            ("2001:db8::1:80", Some("2001:db8::1:80")),
            ("unknown", None),
            ("_hidden", None),
            ("[192.0.2.1]", None),
            ("[2001:db8::1", None),
            ("2001:db8::1]", None),
            ("[2001:db8::1]80", None),
            ("[2001:db8::1]:", None),
            ("192.0.2.1:", None),
            ("192.0.2.1:65536", None),
            ("192.0.2.1:+80", None),
            ("192.0.2.1:_", None),
            ("192.0.2.01", None),
            ("192.0.2", None),
            ("3221225985", None),
            ("fe80::1%eth0", None),
            (" 192.0.2.1", None),
            ("shop.example", None),
            ("", None),
        ] {
            assert_eq!(address(text), read.map(|read| read.parse().unwrap()), "{text}");
        }
    }
}
