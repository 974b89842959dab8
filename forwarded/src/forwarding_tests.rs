//! The rule, as tables.

use http::HeaderValue;

use super::*;

/// The proxies that are trusted in these tables, and the peer in front of which they stand.
const TRUSTED: [&str; 3] = ["10.0.0.0/8", "2001:db8:a::/48", "unix"];
const PROXY: &str = "10.0.0.1";

fn trusted() -> TrustedProxies {
    TRUSTED.into_iter().map(|text| text.parse::<super::super::TrustedProxy>().unwrap()).collect()
}

/// The way of a request with these fields, in their order, from the peer with this address.
fn from(peer: &str, fields: &[(&str, &str)]) -> Forwarding {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    Forwarding::read(&headers, peer.parse().ok(), &trusted())
}

/// Client and all behind it, as a list.
fn senders(way: &Forwarding) -> String {
    let shown =
        |sender: Option<IpAddr>| sender.map_or_else(|| "unknown".into(), |it| it.to_string());
    way.senders().map(shown).collect::<Vec<_>>().join(", ")
}

#[test]
fn from_a_peer_that_is_not_trusted_nothing_is_believed() {
    let fields = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("forwarded", "for=203.0.113.7;proto=https;host=shop.example"),
    ];
    for peer in ["192.0.2.1", "2001:db8:b::1", "127.0.0.1"] {
        let way = from(peer, &fields);
        assert_eq!(way, Forwarding::direct(peer.parse().ok()));
        assert_eq!(senders(&way), peer);
    }
    let nobody = TrustedProxies::default();
    let way = Forwarding::read(&HeaderMap::new(), None, &nobody);
    assert_eq!((senders(&way).as_str(), way.client), ("unknown", None));
}

#[test]
fn x_forwarded_for_is_walked_from_the_right_to_the_first_that_is_not_trusted() {
    for (list, way) in [
        // The client, and the trusted ones behind it.
        (&["203.0.113.7"][..], "203.0.113.7, 10.0.0.1"),
        (&["203.0.113.7, 10.0.0.9"], "203.0.113.7, 10.0.0.9, 10.0.0.1"),
        (&["203.0.113.7, 10.0.0.9,10.0.0.8"], "203.0.113.7, 10.0.0.9, 10.0.0.8, 10.0.0.1"),
        // What stands before the client is its own word.
        (&["198.51.100.1, 203.0.113.7"], "203.0.113.7, 10.0.0.1"),
        (&["10.0.0.5, 203.0.113.7, 10.0.0.9"], "203.0.113.7, 10.0.0.9, 10.0.0.1"),
        (&["garbage, 203.0.113.7"], "203.0.113.7, 10.0.0.1"),
        // Several fields are one list.
        (&["203.0.113.7", "10.0.0.9"], "203.0.113.7, 10.0.0.9, 10.0.0.1"),
        (&["198.51.100.1", "203.0.113.7"], "203.0.113.7, 10.0.0.1"),
        // Empty entries are none.
        (&["", ", ,203.0.113.7 , ,", ""], "203.0.113.7, 10.0.0.1"),
        (&["", ","], "10.0.0.1"),
        // Ports, brackets, IPv4 as IPv6.
        (&["203.0.113.7:4711"], "203.0.113.7, 10.0.0.1"),
        (&["[2001:db8:b::1]:4711"], "2001:db8:b::1, 10.0.0.1"),
        (&["2001:DB8:B::1, 2001:db8:a::1"], "2001:db8:b::1, 2001:db8:a::1, 10.0.0.1"),
        (&["203.0.113.7, ::ffff:10.0.0.9"], "203.0.113.7, 10.0.0.9, 10.0.0.1"),
        (&["::ffff:203.0.113.7"], "203.0.113.7, 10.0.0.1"),
        // All are trusted: the first one asks for itself.
        (&["10.0.0.7"], "10.0.0.7, 10.0.0.1"),
        (&["10.0.0.7, 10.0.0.8"], "10.0.0.7, 10.0.0.8, 10.0.0.1"),
        // Where the client would stand is no address.
        (&["unknown"], "unknown, 10.0.0.1"),
        (&["_hidden, 10.0.0.9"], "unknown, 10.0.0.9, 10.0.0.1"),
        (&["203.0.113.7, garbage"], "unknown, 10.0.0.1"),
        (&["203.0.113.7, gar bage, 10.0.0.9"], "unknown, 10.0.0.9, 10.0.0.1"),
        (&["203.0.113.7, \u{f6}"], "unknown, 10.0.0.1"),
        (&["203.0.113.7", "10.0.0.9 10.0.0.8"], "unknown, 10.0.0.1"),
    ] {
        let fields: Vec<_> = list.iter().map(|value| ("x-forwarded-for", *value)).collect();
        assert_eq!(senders(&from(PROXY, &fields)), way, "{list:?}");
    }
}

#[test]
fn forwarded_is_walked_in_the_same_way() {
    for (list, way) in [
        (&["for=203.0.113.7"][..], "203.0.113.7, 10.0.0.1"),
        (&["for=203.0.113.7, for=10.0.0.9"], "203.0.113.7, 10.0.0.9, 10.0.0.1"),
        (&["for=203.0.113.7", "FOR=\"10.0.0.9:80\";by=x"], "203.0.113.7, 10.0.0.9, 10.0.0.1"),
        (&["for=198.51.100.1, for=\"[2001:db8:b::1]:1234\""], "2001:db8:b::1, 10.0.0.1"),
        (&["for=203.0.113.7, for=unknown"], "unknown, 10.0.0.1"),
        (&["for=_secret, for=10.0.0.9"], "unknown, 10.0.0.9, 10.0.0.1"),
        // An element that does not say who sent it.
        (&["for=203.0.113.7, proto=https"], "unknown, 10.0.0.1"),
        // A field that is not by the grammar says nothing, and those behind it count.
        (&["for=\"203.0.113.7"], "unknown, 10.0.0.1"),
        (&["for=\"203.0.113.7", "for=198.51.100.1"], "198.51.100.1, 10.0.0.1"),
        (&["for=\"203.0.113.7", "for=10.0.0.9"], "unknown, 10.0.0.9, 10.0.0.1"),
        (&[" , "], "10.0.0.1"),
    ] {
        let fields: Vec<_> = list.iter().map(|value| ("forwarded", *value)).collect();
        assert_eq!(senders(&from(PROXY, &fields)), way, "{list:?}");
    }
}

/// A proxy that writes one of them hands on the other as its client has sent it.
#[test]
fn where_both_name_different_clients_neither_is_believed() {
    for (list, forwarded, way) in [
        ("203.0.113.7", "for=203.0.113.7", "203.0.113.7, 10.0.0.1"),
        ("203.0.113.7, 10.0.0.9", "for=203.0.113.7", "203.0.113.7, 10.0.0.9, 10.0.0.1"),
        ("203.0.113.7", "for=198.51.100.1", "unknown, 10.0.0.1"),
        ("203.0.113.7", "for=10.0.0.9", "unknown, 10.0.0.1"),
        ("203.0.113.7", "garbage", "unknown, 10.0.0.1"),
        ("203.0.113.7", "proto=https", "unknown, 10.0.0.1"),
        ("unknown", "for=203.0.113.7", "unknown, 10.0.0.1"),
        // One that is empty is not there.
        ("", "for=203.0.113.7", "203.0.113.7, 10.0.0.1"),
        ("203.0.113.7", ",", "203.0.113.7, 10.0.0.1"),
    ] {
        let fields = [
            ("x-forwarded-for", list),
            ("forwarded", forwarded),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "by-fields.example"),
        ];
        let read = from(PROXY, &fields);
        assert_eq!(senders(&read), way, "{list} and {forwarded}");
        let is_believed = !way.starts_with("unknown") && !list.is_empty();
        assert_eq!(read.host.is_some(), is_believed, "{list} and {forwarded}");
    }
}

#[test]
fn no_more_than_the_last_32_entries_are_looked_at() {
    let proxies = |count: usize| vec!["10.0.0.9"; count].join(", ");
    let list = format!("203.0.113.7, {}", proxies(MOST_ENTRIES - 1));
    assert_eq!(from(PROXY, &[("x-forwarded-for", &list)]).client, "203.0.113.7".parse().ok());
    let list = format!("203.0.113.7, {}", proxies(MOST_ENTRIES));
    let way = from(PROXY, &[("x-forwarded-for", &list)]);
    assert_eq!((way.client, way.senders().count()), (None, MOST_ENTRIES + 2));
    let list = format!("{}203.0.113.7", "198.51.100.1, ".repeat(10_000));
    assert_eq!(senders(&from(PROXY, &[("x-forwarded-for", &list)])), "203.0.113.7, 10.0.0.1");
    let list = format!("{}for=203.0.113.7", "for=198.51.100.1, ".repeat(10_000));
    assert_eq!(senders(&from(PROXY, &[("forwarded", &list)])), "203.0.113.7, 10.0.0.1");
}

#[test]
fn a_proxy_on_a_unix_socket_has_no_address() {
    let way = from("unix", &[("x-forwarded-for", "203.0.113.7")]);
    assert_eq!(senders(&way), "203.0.113.7, unknown");
    assert_eq!(senders(&from("unix", &[])), "unknown");
}

/// Found by the fuzzer: where it is written again it would be two.
#[test]
fn a_host_with_a_comma_is_none() {
    for host in ["a,b:1", "a,for=6.6.6.6"] {
        let field = format!("for=203.0.113.7;host=\"{host}\"");
        let way = from(PROXY, &[("forwarded", &field)]);
        assert_eq!((way.host, way.client), (None, "203.0.113.7".parse().ok()), "{host}");
    }
}

#[test]
fn scheme_and_host_are_those_that_the_client_asked_by() {
    let https = Some(Scheme::HTTPS);
    let http = Some(Scheme::HTTP);
    for (fields, scheme, host) in [
        // A proxy that names no client.
        (&[("x-forwarded-proto", "https")][..], &https, ""),
        (&[("x-forwarded-proto", "http, HTTPS"), ("x-forwarded-host", "a:8080")], &https, "a:8080"),
        // One proxy: the last one of a list.
        (&[("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https, http")], &http, ""),
        // Two that each add theirs: as far from the end as the client.
        (
            &[
                ("x-forwarded-for", "203.0.113.7, 10.0.0.9"),
                ("x-forwarded-proto", "http, https, http"),
                ("x-forwarded-host", "evil.example, shop.example, inner"),
            ],
            &https,
            "shop.example",
        ),
        // Two of which only the first one says it.
        (
            &[("x-forwarded-for", "203.0.113.7, 10.0.0.9"), ("x-forwarded-proto", "https")],
            &https,
            "",
        ),
        // Words that are no scheme, and no host.
        (&[("x-forwarded-proto", "wss"), ("x-forwarded-host", "user@shop.example")], &None, ""),
        (&[("x-forwarded-proto", "https:"), ("x-forwarded-host", "shop.example/")], &None, ""),
        (&[("x-forwarded-host", "shop.example:99999")], &None, ""),
        (&[("x-forwarded-host", "shop.example:")], &None, ""),
        (&[("x-forwarded-host", "")], &None, ""),
        // By `Forwarded`: of the element that names the client.
        (
            &[("forwarded", "for=1.1.1.1;proto=http, for=203.0.113.7;proto=https;host=\"a:1\"")],
            &https,
            "a:1",
        ),
        (
            &[("forwarded", "for=203.0.113.7;proto=https, for=10.0.0.9;proto=http;host=b")],
            &https,
            "",
        ),
        // Where only that counts, a client could have sent the others.
        (&[("forwarded", "for=203.0.113.7"), ("x-forwarded-proto", "https")], &None, ""),
        // Where both name the same client, one adds to the other.
        (
            &[
                ("x-forwarded-for", "203.0.113.7"),
                ("forwarded", "for=203.0.113.7;proto=https;host=a"),
                ("x-forwarded-host", "b"),
            ],
            &https,
            "b",
        ),
    ] {
        let way = from(PROXY, fields);
        assert_eq!(&way.scheme, scheme, "{fields:?}");
        assert_eq!(way.host.as_ref().map_or("", Authority::as_str), host, "{fields:?}");
    }
}
