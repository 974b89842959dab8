//! Version 2: bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::header::{ProxyHeader, ProxyHeaderFault, ProxyHeaderStep, ProxySource};

/// What it begins with.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, and how many bytes follow.
const FIXED: usize = 16;

/// Bytes that may follow those: addresses have 216 at most, and what proxies add to them some hundred. Above that a
/// connection is refused.
pub const MOST_BYTES: usize = 4096;

/// Types of what may stand behind the addresses, each with a length.
const CHECKSUM: u8 = 0x03;
const TLS: u8 = 0x20;

type Read<T> = Result<T, ProxyHeaderFault>;

fn malformed<T>(why: &'static str) -> Read<T> {
    Err(ProxyHeaderFault::Malformed(why))
}

/// Reads a header whose beginning is that of the signature.
pub(super) fn read(bytes: &[u8]) -> Read<ProxyHeaderStep> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        let whole = if bytes.len() < SIGNATURE.len() { SIGNATURE.len() } else { FIXED };
        return Ok(ProxyHeaderStep::Needs(whole - bytes.len()));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 {
        return malformed("neither version 1 nor 2");
    }
    if length > MOST_BYTES {
        return malformed("more than 4 KiB");
    }
    let Some(rest) = rest.get(..length) else {
        return Ok(ProxyHeaderStep::Needs(FIXED + length - bytes.len()));
    };
    let header = match command & 0xf {
        // Whatever follows is to be ignored.
        0 => ProxyHeader { source: ProxySource::Proxy, is_secure: false },
        1 => proxied(family, rest, bytes)?,
        _ => return malformed("neither LOCAL nor PROXY"),
    };
    Ok(ProxyHeaderStep::Done(header))
}

fn proxied(family: u8, rest: &[u8], whole: &[u8]) -> Read<ProxyHeader> {
    let short = ProxyHeaderFault::Malformed("addresses too short");
    let (source, behind) = match family {
        0x00 => (ProxySource::Proxy, rest),
        0x11 => {
            let (addresses, behind) = rest.split_first_chunk::<12>().ok_or(short)?;
            let [a, b, c, d, _, _, _, _, high, low, ..] = *addresses;
            (address(Ipv4Addr::new(a, b, c, d).into(), [high, low]), behind)
        }
        0x21 => {
            let (from, behind) = rest.split_first_chunk::<16>().ok_or(short)?;
            let ([.., high, low, _, _], behind) = behind.split_first_chunk::<20>().ok_or(short)?;
            (address(Ipv6Addr::from_octets(*from).into(), [*high, *low]), behind)
        }
        0x31 => (ProxySource::Unix, rest.split_first_chunk::<216>().ok_or(short)?.1),
        _ => return malformed("no family of streams"),
    };
    // Families of addresses that a proxy does not know have nothing behind them that could be told apart.
    let is_secure = family != 0x00 && additions(behind, whole)?;
    Ok(ProxyHeader { source, is_secure })
}

fn address(ip: IpAddr, port: [u8; 2]) -> ProxySource {
    ProxySource::Address(SocketAddr::new(ip, u16::from_be_bytes(port)))
}

/// Reads what stands behind the addresses, checks the sum if it is there, and tells whether the client has come by
/// TLS.
fn additions(mut rest: &[u8], whole: &[u8]) -> Read<bool> {
    let mut is_secure = false;
    while !rest.is_empty() {
        let Some(([kind, high, low], behind)) = rest.split_first_chunk::<3>() else {
            return malformed("half an addition");
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, behind)) = behind.split_at_checked(length) else {
            return malformed("an addition that is longer than the header");
        };
        match *kind {
            CHECKSUM => {
                let Ok(sum) = <[u8; 4]>::try_from(value) else { return malformed("no checksum") };
                let at = whole.len() - behind.len() - sum.len();
                if u32::from_be_bytes(sum) != crc32c(whole, at..at + sum.len()) {
                    return malformed("the checksum does not match");
                }
            }
            // The lowest bit of the first byte: the client spoke TLS.
            TLS => is_secure |= value.first().is_some_and(|client| client & 1 == 1),
            _ => {}
        }
        rest = behind;
    }
    Ok(is_secure)
}

/// CRC-32C (RFC 9260 appendix A), with zeros where the sum itself stands.
fn crc32c(bytes: &[u8], sum: std::ops::Range<usize>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
    let byte = |crc: u32, (at, byte): (usize, &u8)| {
        let byte = if sum.contains(&at) { 0 } else { *byte };
        (0..8).fold(crc ^ u32::from(byte), step)
    };
    !bytes.iter().enumerate().fold(u32::MAX, byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of this command and family, with this behind its fixed part.
    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    /// Reads it as a connection does: what is asked for, and nothing of what comes behind.
    fn read_all(header: &[u8]) -> Read<ProxyHeader> {
        let mut read = 0;
        loop {
            match ProxyHeader::read(&header[..read])? {
                ProxyHeaderStep::Needs(more) => {
                    assert!(more > 0 && read + more <= header.len(), "{read} and {more}");
                    read += more;
                }
                ProxyHeaderStep::Line(_) => panic!("no line"),
                ProxyHeaderStep::Done(done) => {
                    assert_eq!(read, header.len());
                    return Ok(done);
                }
            }
        }
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 1, 187];

    fn v6() -> Vec<u8> {
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        [&ip("2001:db8::1")[..], &ip("2001:db8::2"), &[0x12, 0x67, 1, 187]].concat()
    }

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[kind], &length[..], value].concat()
    }

    #[test]
    fn version_2_says_who_the_client_is() {
        let address = |text: &str| ProxySource::Address(text.parse().unwrap());
        let unix = vec![b'x'; 216];
        for (command, family, rest, source) in [
            (0x21, 0x11, V4.to_vec(), address("192.0.2.1:4711")),
            (0x21, 0x21, v6(), address("[2001:db8::1]:4711")),
            (0x21, 0x31, unix, ProxySource::Unix),
            (0x21, 0x00, Vec::new(), ProxySource::Proxy),
            (0x21, 0x00, vec![1, 2, 3, 4, 5], ProxySource::Proxy),
            // A proxy that looks whether the host is well: what it says of addresses is to be ignored.
            (0x20, 0x00, Vec::new(), ProxySource::Proxy),
            (0x20, 0x11, V4.to_vec(), ProxySource::Proxy),
            (0x20, 0x99, vec![1, 2, 3], ProxySource::Proxy),
        ] {
            let read = read_all(&header(command, family, &rest)).unwrap();
            assert_eq!(read, ProxyHeader { source, is_secure: false }, "{command:x} {family:x}");
        }
    }

    #[test]
    fn additions_are_passed_by_and_tell_of_tls() {
        let with = |additions: &[Vec<u8>]| {
            let rest = [&V4[..], &additions.concat()].concat();
            read_all(&header(0x21, 0x11, &rest)).map(|header| header.is_secure)
        };
        let tls =
            |client: u8| tlv(TLS, &[&[client, 0, 0, 0, 0][..], &tlv(0x21, b"TLSv1.3")].concat());
        assert_eq!(with(&[tlv(0x04, &[]), tlv(0xea, b"vpce-1234")]), Ok(false));
        assert_eq!(with(&[tlv(0x02, b"shop.example"), tls(1)]), Ok(true));
        assert_eq!(with(&[tls(7)]), Ok(true));
        assert_eq!(with(&[tls(0)]), Ok(false));
        assert_eq!(with(&[tlv(TLS, &[])]), Ok(false));
        for (bad, why) in [
            (vec![0x04], "half an addition"),
            (vec![0x04, 0], "half an addition"),
            (vec![0x04, 0, 1], "an addition that is longer than the header"),
            (tlv(CHECKSUM, &[1, 2, 3]), "no checksum"),
        ] {
            assert_eq!(with(&[bad]), malformed(why));
        }
    }

    #[test]
    fn a_checksum_is_checked() {
        // The vectors of RFC 9260 and of iSCSI (RFC 3720 §B.4).
        assert_eq!(crc32c(b"123456789", 0..0), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32], 0..0), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 4], 0..4), crc32c(&[0; 4], 0..0));
        let with = |sum: u32| {
            let rest = [&V4[..], &tlv(CHECKSUM, &sum.to_be_bytes()), &tlv(0x04, b"pad")].concat();
            header(0x21, 0x11, &rest)
        };
        let at = FIXED + V4.len() + 3;
        let sum = crc32c(&with(0), at..at + 4);
        read_all(&with(sum)).unwrap();
        assert_eq!(read_all(&with(sum ^ 1)), malformed("the checksum does not match"));
    }

    #[test]
    fn what_is_no_header_of_version_2_is_refused() {
        for (command, family, rest, why) in [
            (0x11, 0x11, V4.to_vec(), "neither version 1 nor 2"),
            (0x31, 0x11, V4.to_vec(), "neither version 1 nor 2"),
            (0x22, 0x11, V4.to_vec(), "neither LOCAL nor PROXY"),
            (0x21, 0x12, V4.to_vec(), "no family of streams"),
            (0x21, 0x22, v6(), "no family of streams"),
            (0x21, 0x41, V4.to_vec(), "no family of streams"),
            (0x21, 0x11, V4[..11].to_vec(), "addresses too short"),
            (0x21, 0x21, v6()[..35].to_vec(), "addresses too short"),
            (0x21, 0x31, vec![0; 215], "addresses too short"),
            (0x21, 0x11, vec![0; MOST_BYTES + 1], "more than 4 KiB"),
        ] {
            assert_eq!(read_all(&header(command, family, &rest)), malformed(why), "{why}");
        }
        assert_eq!(read_all(b"\r\n\r\n\0\r\nQUIT\r"), Err(ProxyHeaderFault::Missing));
        assert_eq!(ProxyHeader::read(b"\r\n\r\nGET"), Err(ProxyHeaderFault::Missing));
    }

    #[test]
    fn it_may_have_4_kib() {
        let rest = [&V4[..], &tlv(0x04, &vec![0; MOST_BYTES - V4.len() - 3])].concat();
        assert_eq!(rest.len(), MOST_BYTES);
        read_all(&header(0x21, 0x11, &rest)).unwrap();
    }
}
