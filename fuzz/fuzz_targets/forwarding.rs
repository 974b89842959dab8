//! Whatever headers come: only a trusted peer is believed, what stands left of the client changes nothing, and what is
//! written anew is read back as the same.
#![no_main]

use std::net::IpAddr;

use host_forwarded::{ForwardedFields, Forwarding, MOST_ENTRIES, TrustedProxies, TrustedProxy};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

fuzz_target!(|text: &str| {
    let trusted: TrustedProxies = ["10.0.0.0/8", "2001:db8::/32"]
        .into_iter()
        .map(|network| network.parse::<TrustedProxy>().expect("a network"))
        .collect();
    let sent = headers(text);
    let stranger: IpAddr = [192, 0, 2, 1].into();
    assert_eq!(
        Forwarding::read(&sent, Some(stranger), &trusted),
        Forwarding::direct(Some(stranger))
    );
    let way = Forwarding::read(&sent, Some(PEER), &trusted);
    let senders: Vec<_> = way.senders().collect();
    assert!(senders.len() <= MOST_ENTRIES + 2);
    assert!(senders.iter().skip(1).all(|proxy| trusted.has(*proxy)));
    for name in ["x-forwarded-for", "forwarded"] {
        longer(&sent, name, &way, &trusted);
    }
    read_back(&way, &trusted);
});

/// A header in each line.
fn headers(text: &str) -> HeaderMap {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in text.lines().filter_map(field).take(100) {
        headers.append(name, value);
    }
    headers
}

/// What a client writes in front of a list is its own word.
fn longer(sent: &HeaderMap, name: &'static str, way: &Forwarding, trusted: &TrustedProxies) {
    let is_walked_to_its_end = way.client.is_none_or(|client| trusted.has(Some(client)));
    // A list without an entry is none, and nothing stands in front of it.
    let has_letter = |value: &HeaderValue| value.as_bytes().iter().any(u8::is_ascii_alphanumeric);
    if is_walked_to_its_end || !sent.get_all(name).iter().any(has_letter) {
        return;
    }
    let entry = if name == "forwarded" { "for=203.0.113.9" } else { "203.0.113.9" };
    let mut longer = HeaderMap::new();
    longer.append(name, HeaderValue::from_static(entry));
    for (name, value) in sent {
        longer.append(name, value.clone());
    }
    let read = Forwarding::read(&longer, Some(PEER), trusted);
    let believed = |way: &Forwarding| way.senders().collect::<Vec<_>>();
    assert_eq!(believed(&read), believed(way));
}

/// Another host that trusts this one finds the same client.
fn read_back(way: &Forwarding, trusted: &TrustedProxies) {
    let host = way.host.clone().unwrap_or_else(|| "shop.example".parse().expect("a host"));
    let scheme = way.scheme.clone().unwrap_or(Scheme::HTTP);
    let mut written = HeaderMap::new();
    ForwardedFields::new(way, &scheme, &host).write(&mut written);
    let again = Forwarding::read(&written, Some(PEER), trusted);
    if way.senders().count() < MOST_ENTRIES {
        assert_eq!(again.client, way.client, "{written:?}");
        assert_eq!((again.scheme, again.host), (Some(scheme), Some(host)), "{written:?}");
    }
}
