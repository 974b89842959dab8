//! The allow-list admits nothing that its plain words deny.
#![no_main]

use std::net::IpAddr;

use host_manifest::outgoing::{Origin, Reach, Verdict, admits_address, check};
use http::uri::Scheme;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    origins: Vec<String>,
    tls: bool,
    host: String,
    port: u16,
    ip: IpAddr,
}

fuzz_target!(|input: Input| {
    let origins: Vec<Origin> = input.origins.iter().filter_map(|text| text.parse().ok()).collect();
    let reach = Reach::default();
    let scheme = if input.tls { Scheme::HTTPS } else { Scheme::HTTP };
    let admitted = check(&origins, &reach, &scheme, &input.host, input.port) == Verdict::Admitted;
    if admitted {
        let named = origins.iter().any(|origin| plainly(origin, &scheme, &input.host, input.port));
        assert!(named, "{origins:?} do not name it");
    }
    if admits_address(&origins, &reach, &input.host, input.ip, input.port) {
        assert!(!input.ip.is_unspecified() && !input.ip.is_multicast());
        let literal = input.host.trim_matches(['[', ']']).parse() == Ok(input.ip);
        let local = match input.ip.to_canonical() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
            }
        };
        assert!(literal || !local, "a name leads to {}", input.ip);
    }
});

/// The origin as it is shown, compared as text: `scheme://host:port`, `*` for what stands before.
fn plainly(origin: &Origin, scheme: &Scheme, host: &str, port: u16) -> bool {
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
