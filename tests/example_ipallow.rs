//! The plugin `ipallow` of `guest/examples`: who may pass, by address.

use crate::support::chain::Chain;
use crate::support::prelude::*;

/// A host that believes the test who its client is.
fn host(config: &str) -> Host {
    let trust = "[listen]\ntrusted-proxies = [\"127.0.0.1\"]";
    Chain::new(&["ipallow_p3"], "info_p3").say("one", config).and(trust).start()
}

#[track_caller]
fn status_for(host: &Host, client: &str) -> u16 {
    let mut conn = host.connect();
    conn.send(format!("GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {client}\r\n\r\n")).unwrap();
    conn.read_response("GET").unwrap().status()
}

#[test]
fn ipallow_lets_pass_who_is_allowed_and_not_denied() {
    let host = host(
        "config.allow = \"10.0.0.0/8 2001:db8::/32 192.0.2.7\"\nconfig.deny = \"10.66.0.0/16 2001:db8:bad::/48\"",
    );
    for (client, status) in [
        ("10.1.2.3", 200),
        ("10.255.255.255", 200),
        ("::ffff:10.1.2.3", 200),
        ("2001:db8::1", 200),
        ("192.0.2.7", 200),
        ("192.0.2.8", 403),
        ("11.0.0.0", 403),
        ("10.66.0.1", 403),
        ("::ffff:10.66.0.1", 403),
        ("2001:db8:bad::1", 403),
        ("2001:db9::1", 403),
        ("unknown", 403),
    ] {
        assert_eq!(status_for(&host, client), status, "{client}");
    }
}

#[test]
fn ipallow_takes_ipv4_within_ipv6_for_ipv4_in_its_networks_too() {
    let host = host("config.deny = \"::ffff:10.0.0.0/104\"\nconfig.unknown = \"allow\"");
    for (client, status) in [("10.9.9.9", 403), ("11.0.0.1", 200), ("::1", 200), ("unknown", 200)] {
        assert_eq!(status_for(&host, client), status, "{client}");
    }
}

/// A client that is no trusted proxy names an address that would pass.
#[test]
fn ipallow_is_not_fooled_by_what_a_client_says_of_itself() {
    for (config, status) in
        [("config.allow = \"10.0.0.0/8\"", 403), ("config.deny = \"10.0.0.0/8\"", 200)]
    {
        let host = Chain::new(&["ipallow_p3"], "info_p3").say("one", config).start();
        assert_eq!(status_for(&host, "10.1.2.3"), status, "{config}");
    }
    let host =
        Chain::new(&["ipallow_p3"], "info_p3").say("one", "config.allow = \"127.0.0.1\"").start();
    assert_eq!(status_for(&host, "10.1.2.3"), 200, "it is at 127.0.0.1");
}
