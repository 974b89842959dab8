//! Version 1: one line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::header::{ProxyHeader, ProxyHeaderFault, ProxyHeaderStep, ProxySource};

/// What it begins with.
pub(super) const WORD: &[u8] = b"PROXY ";

/// Bytes of a line with its end.
const LONGEST: usize = 107;

/// Reads a header whose beginning is that of the word.
pub(super) fn read(bytes: &[u8]) -> Result<ProxyHeaderStep, ProxyHeaderFault> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if end + 1 == bytes.len() => words(&bytes[..end]).map(ProxyHeaderStep::Done),
        // It was over among the bytes that tell which version it is: we waited for its end then.
        Some(_) => Err(ProxyHeaderFault::Malformed("line too short")),
        None if bytes.len() >= LONGEST => Err(ProxyHeaderFault::Malformed("line too long")),
        None => Ok(ProxyHeaderStep::Line(LONGEST - bytes.len())),
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 4711 443`
fn words(line: &[u8]) -> Result<ProxyHeader, ProxyHeaderFault> {
    let line = line.strip_suffix(b"\r").ok_or(ProxyHeaderFault::Malformed("LF without CR"))?;
    let text = str::from_utf8(line).map_err(|_| ProxyHeaderFault::Malformed("no text"))?;
    let words: Vec<&str> = text.splitn(8, ' ').collect();
    let source = match words[..] {
        // What stands behind it is to be ignored.
        [_, "UNKNOWN", ..] => ProxySource::Proxy,
        [_, "TCP4", from, to, from_port, to_port] => {
            ProxySource::Address(endpoint::<Ipv4Addr>(from, to, from_port, to_port)?)
        }
        [_, "TCP6", from, to, from_port, to_port] => {
            ProxySource::Address(endpoint::<Ipv6Addr>(from, to, from_port, to_port)?)
        }
        _ => return Err(ProxyHeaderFault::Malformed("no words of version 1")),
    };
    Ok(ProxyHeader { source, is_secure: false })
}

fn endpoint<A: std::str::FromStr + Into<IpAddr>>(
    from: &str,
    to: &str,
    from_port: &str,
    to_port: &str,
) -> Result<SocketAddr, ProxyHeaderFault> {
    let address = |text: &str| text.parse::<A>().ok();
    let port = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number && (text == "0" || !text.starts_with('0')))
    };
    match (address(from), address(to), port(from_port), port(to_port)) {
        (Some(from), Some(_), Some(port), Some(_)) => Ok(SocketAddr::new(from.into(), port)),
        _ => Err(ProxyHeaderFault::Malformed("no address, or no port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a header as a connection does: byte for byte what is asked for, and nothing of what comes behind.
    fn read(text: &str) -> Result<ProxyHeader, ProxyHeaderFault> {
        let stream = format!("{text}GET / HTTP/1.1\r\n");
        let mut read = 0;
        loop {
            let before = &stream.as_bytes()[..read];
            match ProxyHeader::read(before)? {
                ProxyHeaderStep::Needs(bytes) => read += bytes,
                ProxyHeaderStep::Line(most) => {
                    let end = stream.bytes().skip(read).position(|byte| byte == b'\n');
                    read += end.map_or(most, |end| most.min(end + 1));
                }
                ProxyHeaderStep::Done(header) => {
                    assert_eq!(read, text.len(), "{text:?}");
                    return Ok(header);
                }
            }
        }
    }

    #[test]
    fn version_1_is_read_to_the_byte() {
        let most = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for (line, source) in [
            ("TCP4 192.0.2.1 192.0.2.2 4711 443", "192.0.2.1:4711"),
            ("TCP4 192.0.2.1 192.0.2.2 0 65535", "192.0.2.1:0"),
            ("TCP6 2001:db8::1 2001:db8::2 4711 443", "[2001:db8::1]:4711"),
            ("TCP6 ::ffff:192.0.2.1 ::1 1 2", "[::ffff:192.0.2.1]:1"),
            (&format!("TCP6 {most} {most} 65535 65535"), &format!("[{most}]:65535")),
        ] {
            let header = read(&format!("PROXY {line}\r\n")).unwrap();
            assert_eq!(header.source, ProxySource::Address(source.parse().unwrap()), "{line}");
            assert!(!header.is_secure);
        }
        for line in
            ["UNKNOWN", "UNKNOWN ", &format!("UNKNOWN {most} {most} 65535 65535"), "UNKNOWN a  b"]
        {
            let header = read(&format!("PROXY {line}\r\n")).unwrap();
            assert_eq!(header.source, ProxySource::Proxy, "{line}");
        }
    }

    #[test]
    fn what_is_no_header_of_version_1_is_refused_as_soon_as_that_is_known() {
        for (text, fault) in [
            ("", "missing"),
            ("GET / HTTP/1.1\r\n", "missing"),
            ("proxy TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", "missing"),
            ("PROXY\tTCP4 192.0.2.1 192.0.2.2 4711 443\r\n", "missing"),
            ("\x16\x03\x01", "missing"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\n", "LF without CR"),
            ("PROXY \n", "line too short"),
            ("PROXY X\r\n", "line too short"),
            ("PROXY TCP4  192.0.2.1 192.0.2.2 4711 443\r\n", "no words of version 1"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n", "no words of version 1"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 4711 443 \r\n", "no words of version 1"),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 4711 443\r\n", "no words of version 1"),
            ("PROXY UNKNOWN1234567890\r\n", "no words of version 1"),
            ("PROXY TCP4 2001:db8::1 2001:db8::2 4711 443\r\n", "no address, or no port"),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 4711 443\r\n", "no address, or no port"),
            ("PROXY TCP4 192.0.2.1 192.0.2.256 4711 443\r\n", "no address, or no port"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n", "no address, or no port"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +11 443\r\n", "no address, or no port"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 0443 443\r\n", "no address, or no port"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 443 \r\n", "no address, or no port"),
        ] {
            let fault = match fault {
                "missing" => ProxyHeaderFault::Missing,
                why => ProxyHeaderFault::Malformed(why),
            };
            assert_eq!(read(text), Err(fault), "{text:?}");
        }
        assert_eq!(ProxyHeader::read(b"PX"), Err(ProxyHeaderFault::Missing));
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST - 15));
        assert_eq!(read(&long), Err(ProxyHeaderFault::Malformed("line too long")));
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST - 16));
        assert_eq!(longest.len(), LONGEST);
        read(&longest).unwrap();
    }
}
