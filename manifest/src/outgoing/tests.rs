use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::uri::Scheme;
use proptest::prelude::*;

use super::test_addresses::embed_v4;
use super::{AddressKind, Endpoint, Origin, PolicyDecision, Reach, UriHost, admits_address, check};

const NOTHING: Reach = Reach { loopback: false, private: false, link_local: false };
const ALL: Reach = Reach { loopback: true, private: true, link_local: true };

fn list(texts: &[&str]) -> Vec<Origin> {
    texts.iter().map(|text| text.parse().expect(text)).collect()
}

fn asks(origins: &[Origin], scheme: &Scheme, host: &str, port: u16) -> PolicyDecision {
    check(origins, &NOTHING, scheme, host, port)
}

#[test]
fn an_origin_is_exact() {
    let origins = list(&["https://api.example.com", "http://plain.example:8000", "any.example:9"]);
    let admitted = [
        (Scheme::HTTPS, "api.example.com", 443),
        (Scheme::HTTPS, "API.Example.COM", 443),
        (Scheme::HTTPS, "api.example.com.", 443),
        (Scheme::HTTP, "plain.example", 8000),
        (Scheme::HTTP, "any.example", 9),
        (Scheme::HTTPS, "any.example", 9),
    ];
    for (scheme, host, port) in admitted {
        assert_eq!(asks(&origins, &scheme, host, port), PolicyDecision::Admitted, "{host}");
    }
    let denied = [
        (Scheme::HTTP, "api.example.com", 80),
        (Scheme::HTTP, "api.example.com", 443),
        (Scheme::HTTPS, "api.example.com", 8443),
        (Scheme::HTTPS, "example.com", 443),
        (Scheme::HTTPS, "x.api.example.com", 443),
        (Scheme::HTTPS, "api.example.com.evil.test", 443),
        (Scheme::HTTP, "plain.example", 80),
        (Scheme::HTTPS, "plain.example", 8000),
        ("ws".parse().unwrap(), "any.example", 9),
    ];
    for (scheme, host, port) in denied {
        assert_eq!(asks(&origins, &scheme, host, port), PolicyDecision::NotNamed, "{host}");
    }
}

#[test]
fn a_wildcard_stands_for_one_label_or_more() {
    let origins = list(&["*.svc.local:8080"]);
    for host in ["a.svc.local", "a.b.svc.local", "A.SVC.LOCAL."] {
        assert_eq!(asks(&origins, &Scheme::HTTP, host, 8080), PolicyDecision::Admitted, "{host}");
    }
    for host in ["svc.local", "asvc.local", "a.svc.local.evil.test", "10.0.0.1"] {
        assert_eq!(asks(&origins, &Scheme::HTTP, host, 8080), PolicyDecision::NotNamed, "{host}");
    }
    for host in [".svc.local", "a..svc.local", "*.svc.local", "a.svc.local..", "", "."] {
        assert_eq!(asks(&origins, &Scheme::HTTP, host, 8080), PolicyDecision::Malformed, "{host}");
    }
}

#[test]
fn bad_origins_are_refused_with_advice() {
    let refused = [
        ("", "port"),
        ("api.example.com", "needs a port"),
        ("ftp://api.example.com", "scheme"),
        ("https://", "not a host"),
        ("https://api.example.com/v1", "no path"),
        ("https://api.example.com/", "no path"),
        ("https://user@api.example.com", "no user"),
        ("https://api.example.com:0", "1 to 65535"),
        ("https://api.example.com:65536", "1 to 65535"),
        ("https://api.example.com:+80", "1 to 65535"),
        ("https://api.example.com:", "1 to 65535"),
        ("https://a b", "not a host"),
        ("https://::1", "brackets"),
        ("https://[::1", "not a host"),
        ("https://[fe80::1%25eth0]", "zones"),
        ("https://127.1", "four decimal"),
        ("https://0x7f000001", "four decimal"),
        ("https://0177.0.0.1", "four decimal"),
        ("https://2130706433", "four decimal"),
        ("https://0.0.0.0", "nobody"),
        ("https://224.0.0.1", "nobody"),
        ("*:443", "beginning only"),
        ("a.*.example:443", "beginning only"),
        ("*.:443", "after `*.`"),
        ("*.1:443", "after `*.`"),
        ("https://bücher.example", "xn--"),
    ];
    for (text, says) in refused {
        let why = text.parse::<Origin>().expect_err(text);
        assert!(why.contains(says), "{text}: {why}");
        assert!(why.contains("write an origin as"), "{text}: {why}");
    }
}

#[test]
fn an_endpoint_is_one_host_and_port() {
    let name: Endpoint = "tcp://DB.internal:5432".parse().unwrap();
    assert_eq!(name.to_string(), "tcp://db.internal:5432");
    assert!(!name.admits_address(&NOTHING, "10.0.0.1".parse().unwrap()));
    let literal: Endpoint = "tcp://[::1]:6379".parse().unwrap();
    assert_eq!(
        literal,
        Endpoint { host: UriHost::Address(Ipv6Addr::LOCALHOST.into()), port: 6379 }
    );
    assert!(literal.admits_address(&NOTHING, Ipv6Addr::LOCALHOST.into()));
    assert!(!literal.admits_address(&ALL, Ipv4Addr::LOCALHOST.into()));
    for text in ["db:5432", "tcp://db", "tcp://*.db:1", "tcp://db:1/x", "udp://db:1"] {
        assert!(text.parse::<Endpoint>().is_err(), "{text}");
    }
}

#[test]
fn an_address_in_the_list_is_its_own_word() {
    let origins = list(&["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"]);
    let loopback: IpAddr = Ipv4Addr::LOCALHOST.into();
    assert_eq!(asks(&origins, &Scheme::HTTP, "127.0.0.1", 9000), PolicyDecision::Admitted);
    assert_eq!(asks(&origins, &Scheme::HTTP, "[::1]", 9000), PolicyDecision::Admitted);
    assert_eq!(asks(&origins, &Scheme::HTTP, "[0:0::1]", 9000), PolicyDecision::Admitted);
    assert!(admits_address(&origins, &NOTHING, "127.0.0.1", loopback, 9000));
    // A name is not: whoever runs its DNS chooses the address.
    assert!(!admits_address(&origins, &NOTHING, "localhost", loopback, 9000));
    let reach = Reach { loopback: true, ..NOTHING };
    assert!(admits_address(&origins, &reach, "localhost", loopback, 9000));
    // Another port, another address, another spelling.
    assert!(!admits_address(&origins, &ALL, "127.0.0.1", loopback, 9001));
    assert!(!admits_address(&origins, &ALL, "127.0.0.1", Ipv6Addr::LOCALHOST.into(), 9000));
    assert_eq!(asks(&origins, &Scheme::HTTP, "[::ffff:127.0.0.1]", 9000), PolicyDecision::NotNamed);
    assert_eq!(asks(&origins, &Scheme::HTTP, "127.0.0.2", 9000), PolicyDecision::NotNamed);
}

#[test]
fn other_spellings_of_an_address_are_not_hosts() {
    let origins = list(&["http://127.0.0.1", "http://[::1]", "*.example:80"]);
    let spellings = [
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "0300.0250.0.1",
        "127.0.0.1.",
        "127.0.0.01",
        "127.0.0.0x1",
        "::1",
        "[::1%lo]",
        "[::1",
        "::1]",
        "[[::1]]",
        "user@127.0.0.1",
        "user:pass@x.example",
        "x.example:80",
        "x.example@evil.test",
        "x.example/",
        "x.example?",
        "x.example#",
        "x.example\\",
        "x%2eexample",
        "x.example\0",
        "x.example\r\n",
        " x.example",
        "x．example",
        "１２７.0.0.1",
    ];
    for host in spellings {
        assert_eq!(asks(&origins, &Scheme::HTTP, host, 80), PolicyDecision::Malformed, "{host}");
        assert!(!admits_address(&origins, &ALL, host, Ipv4Addr::LOCALHOST.into(), 80), "{host}");
    }
}

#[test]
fn kinds_of_addresses() {
    let kinds = [
        ("1.1.1.1", AddressKind::Public),
        ("172.32.0.1", AddressKind::Public),
        ("100.128.0.1", AddressKind::Public),
        ("127.255.0.1", AddressKind::Loopback),
        ("10.1.2.3", AddressKind::Private),
        ("172.31.255.255", AddressKind::Private),
        ("192.168.0.1", AddressKind::Private),
        ("100.127.0.1", AddressKind::Private),
        ("169.254.169.254", AddressKind::LinkLocal),
        ("168.63.129.16", AddressKind::LinkLocal),
        ("168.63.129.17", AddressKind::Public),
        ("100.100.100.200", AddressKind::LinkLocal),
        ("100.100.100.199", AddressKind::Private),
        ("::ffff:100.100.100.200", AddressKind::LinkLocal),
        ("0.0.0.0", AddressKind::Never),
        ("0.1.2.3", AddressKind::Never),
        ("192.0.2.1", AddressKind::Never),
        ("198.19.0.1", AddressKind::Never),
        ("203.0.113.9", AddressKind::Never),
        ("224.0.0.251", AddressKind::Never),
        ("240.0.0.1", AddressKind::Never),
        ("255.255.255.255", AddressKind::Never),
        ("2606:4700::1111", AddressKind::Public),
        ("::1", AddressKind::Loopback),
        ("::", AddressKind::Never),
        ("fd00:ec2::254", AddressKind::LinkLocal),
        ("fd00:ec2::253", AddressKind::Private),
        ("fd20:ce::254", AddressKind::LinkLocal),
        ("fd20:ce::255", AddressKind::Private),
        ("fd12:3456::1", AddressKind::Private),
        ("fe80::1", AddressKind::LinkLocal),
        ("fec0::1", AddressKind::Never),
        ("ff02::1", AddressKind::Never),
        ("2001:db8::1", AddressKind::Never),
        ("2001::1", AddressKind::Never),
        ("64:ff9b:1::a00:1", AddressKind::Never),
        ("100::1", AddressKind::Never),
        ("4000::1", AddressKind::Never),
        ("::ffff:127.0.0.1", AddressKind::Loopback),
        ("::ffff:1.1.1.1", AddressKind::Public),
        ("::127.0.0.1", AddressKind::Loopback),
        ("::ffff:0:10.0.0.1", AddressKind::Private),
        ("64:ff9b::169.254.169.254", AddressKind::LinkLocal),
        ("64:ff9b::1.1.1.1", AddressKind::Public),
        ("2002:7f00:1::", AddressKind::Loopback),
        ("2002:a00:1::5", AddressKind::Private),
        ("2002:101:101::1", AddressKind::Public),
        ("::ffff:0.0.0.0", AddressKind::Never),
    ];
    for (text, kind) in kinds {
        assert_eq!(AddressKind::classify(text.parse().expect(text)), kind, "{text}");
    }
}

/// All sets of words against an address of each kind: each word opens its own kind, and no other.
#[test]
fn a_word_opens_its_own_kind_and_no_other() {
    let origins = list(&["any.example:80"]);
    for bits in 0..8_u8 {
        let [loopback, private, link_local] = [1, 2, 4].map(|bit| bits & bit != 0);
        let reach = Reach { loopback, private, link_local };
        let expected = [
            (true, &["1.1.1.1", "2606:4700::1111", "64:ff9b::1.1.1.1"][..]),
            (loopback, &["127.0.0.1", "::1", "::ffff:127.0.0.1"]),
            (private, &["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fd12:3456::1"]),
            (link_local, &["169.254.169.254", "fe80::1", "168.63.129.16"]),
            (link_local, &["100.100.100.200", "fd00:ec2::254", "fd20:ce::254"]),
            (false, &["0.0.0.0", "::", "192.0.2.1", "224.0.0.251", "255.255.255.255", "ff02::1"]),
        ];
        for (admitted, addresses) in expected {
            for text in addresses {
                let ip = text.parse().expect(text);
                assert_eq!(reach.admits(ip), admitted, "{text} with {reach:?}");
                let through = admits_address(&origins, &reach, "any.example", ip, 80);
                assert_eq!(through, admitted, "{text} with {reach:?}");
            }
        }
    }
}

/// The plain words, written without regard to anything but being plain: whether `origin` allows
/// `scheme`, `host` and `port`, where `host` is a name in lower case.
fn plainly(origin: &str, scheme: &str, host: &str, port: u16) -> bool {
    let (own_scheme, authority) = origin.split_once("://").unwrap_or(("", origin));
    let (own_host, own_port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.to_owned()),
        None => (authority, if own_scheme == "http" { "80" } else { "443" }.to_owned()),
    };
    let host_fits = match own_host.strip_prefix('*') {
        Some(end) => host.ends_with(end) && host != end,
        None => host == own_host,
    };
    (own_scheme.is_empty() || own_scheme == scheme) && host_fits && own_port == port.to_string()
}

fn origin() -> impl Strategy<Value = String> {
    let host = "(\\*\\.)?[ab]{1,2}(\\.[ab]){0,2}";
    (prop::sample::select(vec!["", "http://", "https://"]), host, prop::option::of(79..82_u16))
        .prop_filter_map("a port without a scheme", |(scheme, host, port)| match port {
            None if scheme.is_empty() => None,
            None => Some(format!("{scheme}{host}")),
            Some(port) => Some(format!("{scheme}{host}:{port}")),
        })
}

proptest! {
    #[test]
    fn the_list_admits_what_its_plain_words_admit(
        origins in prop::collection::vec(origin(), 0..4),
        scheme in prop::sample::select(vec!["http", "https"]),
        host in "[ab]{1,2}(\\.[ab]){0,3}",
        port in prop::sample::select(vec![79, 80, 81, 443_u16]),
        shout: bool,
        dot: bool,
    ) {
        let expected = origins.iter().any(|origin| plainly(origin, scheme, &host, port));
        let parsed: Vec<Origin> = origins.iter().map(|text| text.parse().unwrap()).collect();
        let mut spelled = if shout { host.to_ascii_uppercase() } else { host };
        if dot { spelled.push('.'); }
        let scheme: Scheme = scheme.parse().unwrap();
        let verdict = asks(&parsed, &scheme, &spelled, port);
        prop_assert_eq!(verdict == PolicyDecision::Admitted, expected);
    }

    #[test]
    fn no_host_out_of_noise_is_admitted_unless_it_is_a_name_below(host in "\\PC{0,12}(\\.svc\\.local)?") {
        let origins = list(&["*.svc.local:80"]);
        if asks(&origins, &Scheme::HTTP, &host, 80) == PolicyDecision::Admitted {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            prop_assert!(name.ends_with(".svc.local"));
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
        }
    }

    #[test]
    fn a_name_never_leads_where_no_word_was_given(bits in 2..=u32::MAX, carrier in 0..6_u8) {
        let inner = Ipv4Addr::from(bits);
        let [a, ..] = inner.octets();
        let ip = embed_v4(inner, carrier);
        let origins = list(&["any.example:80"]);
        let local = inner.is_loopback() || inner.is_private() || inner.is_link_local();
        let nobody = a == 0 || a >= 224 || inner.is_broadcast() || inner.is_documentation();
        if admits_address(&origins, &NOTHING, "any.example", ip, 80) {
            prop_assert!(!local && !nobody, "{}", ip);
        }
        if nobody {
            prop_assert!(!ALL.admits(ip), "{}", ip);
        }
    }

    #[test]
    fn an_origin_is_read_as_it_is_shown(text in origin()) {
        let origin: Origin = text.parse().unwrap();
        prop_assert_eq!(origin.to_string().parse::<Origin>().unwrap(), origin);
    }

    #[test]
    fn noise_is_refused_or_read_as_it_is_shown(text in "\\PC{0,20}[:/@.*\\[\\]0-9a-z]{0,20}") {
        if let Ok(origin) = text.parse::<Origin>() {
            prop_assert_eq!(origin.to_string().parse::<Origin>().unwrap(), origin);
        }
        if let Ok(endpoint) = format!("tcp://{text}").parse::<Endpoint>() {
            prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
        }
    }
}
