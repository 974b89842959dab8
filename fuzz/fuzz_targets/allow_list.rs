//! The allow-list admits nothing that its plain words deny, with whichever words for addresses.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use host_manifest::outgoing::{Origin, PolicyDecision, Reach, admits_address, check};
use http::uri::Scheme;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use test_addresses::embed_v4;

/// By its path: it is of the tests of that crate.
#[path = "../../manifest/src/outgoing/test_addresses.rs"]
mod test_addresses;

#[derive(Arbitrary, Debug)]
struct Input {
    origins: Vec<Written>,
    asked: Asked,
    resolved: Resolved,
    words: u8,
}

/// An origin of the list.
#[derive(Arbitrary, Debug)]
struct Written {
    scheme: Option<bool>,
    below: bool,
    host: Place,
    port: Option<u8>,
}

/// Few names, so that two are often alike.
#[derive(Arbitrary, Debug)]
enum Place {
    Name(Vec<u8>),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Noise(String),
}

/// What a guest asks for: mostly what the first origin names, changed a little.
#[derive(Arbitrary, Debug)]
struct Asked {
    tls: bool,
    host: Option<Place>,
    above: Vec<u8>,
    shout: bool,
    dot: bool,
    port: Option<u8>,
}

/// Where a name leads: an address in one of the clothes that IPv6 has for IPv4, or of a kind of its own.
#[derive(Arbitrary, Debug)]
enum Resolved {
    V4(Near, u8),
    V6(Ipv6Addr),
    Metadata(u8),
}

/// An IPv4 address, mostly near the edge of a range.
#[derive(Arbitrary, Debug)]
enum Near {
    Any(Ipv4Addr),
    Edge(u8, u8),
}

/// Addresses for whose kind the plain words below have their own say.
const METADATA: [&str; 5] =
    ["169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"];

fuzz_target!(|input: Input| {
    let origins: Vec<Origin> =
        input.origins.iter().filter_map(|it| text(it).parse().ok()).collect();
    let [loopback, private, link_local] = [1, 2, 4].map(|bit| input.words & bit != 0);
    let reach = Reach { loopback, private, link_local };
    let scheme = if input.asked.tls { Scheme::HTTPS } else { Scheme::HTTP };
    let (host, port) = asked(&input);
    let ip = address(&input.resolved);
    if check(&origins, &reach, &scheme, &host, port) == PolicyDecision::Admitted {
        let named = origins.iter().any(|origin| names(origin, &scheme, &host, port));
        assert!(named, "{origins:?} do not name {host}:{port}");
    }
    if admits_address(&origins, &reach, &host, ip, port) {
        let literal = host.trim_matches(['[', ']']).parse() == Ok(ip);
        assert!(literal || leads(&reach, ip), "{host} leads to {ip} with {reach:?}");
    }
});

fn text(written: &Written) -> String {
    let scheme = match written.scheme {
        Some(true) => "https://",
        Some(false) => "http://",
        None => "",
    };
    let star = if written.below { "*." } else { "" };
    let port = written.port.map_or_else(String::new, |port| format!(":{port}"));
    format!("{scheme}{star}{}{port}", place(&written.host))
}

fn place(place: &Place) -> String {
    match place {
        Place::Name(labels) => name(labels),
        Place::V4(ip) => ip.to_string(),
        Place::V6(ip) => format!("[{ip}]"),
        Place::Noise(text) => text.clone(),
    }
}

fn name(labels: &[u8]) -> String {
    let label =
        |&byte: &u8| ["a", "b", "svc", "local", "x-1", "0x7f", "127", "A"][usize::from(byte % 8)];
    labels.iter().map(label).collect::<Vec<_>>().join(".")
}

fn asked(input: &Input) -> (String, u16) {
    let Asked { tls, host, above, shout, dot, port } = &input.asked;
    let first = input.origins.first();
    let own = host.as_ref().or(first.map(|origin| &origin.host)).map(place).unwrap_or_default();
    let above = name(above);
    let mut host = if above.is_empty() { own } else { format!("{above}.{own}") };
    if *shout {
        host.make_ascii_uppercase();
    }
    if *dot {
        host.push('.');
    }
    let default = if *tls { 443 } else { 80 };
    let port = port.or(first.and_then(|origin| origin.port)).map_or(default, u16::from);
    (host, port)
}

fn address(resolved: &Resolved) -> IpAddr {
    match resolved {
        Resolved::V6(ip) => (*ip).into(),
        Resolved::Metadata(number) => {
            METADATA[usize::from(*number) % METADATA.len()].parse().expect("written as one")
        }
        Resolved::V4(near, clothes) => {
            let inner = match near {
                Near::Any(ip) => *ip,
                Near::Edge(number, last) => {
                    const FIRST: [[u8; 3]; 8] = [
                        [127, 0, 0],
                        [10, 255, 255],
                        [172, 31, 255],
                        [192, 168, 0],
                        [100, 64, 0],
                        [169, 254, 0],
                        [224, 0, 0],
                        [0, 0, 0],
                    ];
                    let [a, b, c] = FIRST[usize::from(number % 8)];
                    Ipv4Addr::new(a, b, c, *last)
                }
            };
            embed_v4(inner, *clothes)
        }
    }
}

/// Whether a name may lead to `ip`, by what the standard library says of it.
fn leads(reach: &Reach, ip: IpAddr) -> bool {
    let ip = undressed(ip);
    let shared = |ip: Ipv4Addr| ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
    let (loopback, private, link_local) = match ip {
        IpAddr::V4(ip) => (ip.is_loopback(), ip.is_private() || shared(ip), ip.is_link_local()),
        IpAddr::V6(ip) => (ip.is_loopback(), ip.is_unique_local(), ip.is_unicast_link_local()),
    };
    let link_local = link_local || METADATA.iter().any(|own| own.parse() == Ok(ip));
    !ip.is_unspecified()
        && !ip.is_multicast()
        && (!loopback || reach.loopback)
        && (!link_local || reach.link_local)
        && (!private || link_local || reach.private)
}

/// The IPv4 address inside, where a packet may end up there.
fn undressed(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d).into()
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => ip,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => inner(high, low),
        _ => ip,
    }
}

/// The origin as it is shown, compared as text: `scheme://host:port`, `*` for what stands before.
fn names(origin: &Origin, scheme: &Scheme, host: &str, port: u16) -> bool {
    let shown = origin.to_string();
    let authority = match shown.split_once("://") {
        Some((own, authority)) if own == scheme.as_str() => authority,
        Some(_) => return false,
        None => &shown,
    };
    let Some(own) = authority.strip_suffix(&format!(":{port}")) else { return false };
    let host = host.to_ascii_lowercase();
    if let (Some(own), Some(host)) = (own.strip_prefix('['), host.strip_prefix('[')) {
        let read = |text: &str| text.trim_end_matches(']').parse::<IpAddr>();
        return read(own) == read(host);
    }
    let host = host.strip_suffix('.').unwrap_or(&host);
    match own.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => host == own,
    }
}
