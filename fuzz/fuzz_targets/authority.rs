//! A host has one spelling, and no name is an address in disguise.
#![no_main]

use std::net::IpAddr;

use host_manifest::outgoing::{Endpoint, Origin, UriHost};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(host) = UriHost::parse(text) {
        assert_eq!(UriHost::parse(&host.to_string()), Some(host.clone()));
        if let UriHost::Name(name) = &host {
            assert!(name.parse::<IpAddr>().is_err());
            assert!(
                name.bytes().all(|byte| byte.is_ascii_graphic() && !b"@:/?#[]%".contains(&byte))
            );
            assert!(!is_address_to_a_resolver(name));
        }
        // What we take for a host, the parser of URIs takes for the same.
        let authority: http::uri::Authority = text.parse().expect("a host is an authority");
        assert_eq!(UriHost::parse(authority.host()), Some(host));
        assert!(authority.port().is_none());
    }
    if let Ok(origin) = text.parse::<Origin>() {
        assert_eq!(origin.to_string().parse(), Ok(origin));
    }
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }
});

/// What `inet_aton` takes for an address: one to four numbers, decimal, octal or hexadecimal.
fn is_address_to_a_resolver(name: &str) -> bool {
    let is_number = |part: &str| match part.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => part.bytes().all(|byte| byte.is_ascii_digit()),
    };
    name.split('.').count() <= 4 && name.split('.').all(is_number)
}
