//! What `deploy/` has for proxies, as it is: a request passes, the guest is told who its client is, and TLS to the host
//! is verified.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use socket2::{Domain, Socket, Type};

use crate::support::certificates::Authority;
use crate::support::fleet::Fleet;
use crate::support::fleet::proxies::{ShippedProxy, ToHosts};
use crate::support::prelude::*;
use crate::support::shipped::{self, Network, listener_in, manifest_in};
use crate::support::tls_client;

/// A request that lies about its client, of whom each of the files knows better.
const LIES: &str = "GET /who HTTP/1.1\r\nHost: localhost\r\nForwarded: for=203.0.113.1;host=evil\r\n\
                    X-Forwarded-For: 203.0.113.2\r\nX-Forwarded-Host: evil\r\nX-Real-IP: 203.0.113.3\r\n\r\n";

/// A connection from the address of a client that is no proxy.
#[track_caller]
fn client(network: &Network, proxy: SocketAddr) -> Conn {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((IpAddr::from(network.client()), 0)).into()).unwrap();
    socket.connect_timeout(&proxy.into(), PATIENCE).unwrap();
    Conn::over(socket)
}

/// What the guest was told.
#[track_caller]
fn told(mut conn: Conn) -> String {
    conn.send(LIES).unwrap();
    let answer = conn.read_response("GET").unwrap();
    assert_eq!(answer.status(), 200, "{answer}");
    answer.text()
}

/// The guest knows its client, by this scheme, and none of the lies.
#[track_caller]
fn expect_truth(network: &Network, told: &str, scheme: &str) {
    let client = network.client();
    // Behind the client is the proxy, if the host has its word from a header.
    let by_header = told.contains(&format!("header.x-forwarded-for: {client}, 127.0.0.1\n"));
    let by_connection = told.contains(&format!("header.x-forwarded-for: {client}\n"));
    assert!(by_header || by_connection, "{told}");
    assert!(told.contains(&format!("header.x-forwarded-proto: {scheme}\n")), "{told}");
    assert!(told.contains("header.x-forwarded-host: localhost\n"), "{told}");
    for lie in ["203.0.113", "evil", "x-real-ip"] {
        assert!(!told.contains(lie), "{told}");
    }
}

/// What the hosts of a proxy's file must say.
fn manifest(config: &str) -> String {
    manifest_in(&shipped::text(config), "Each host has this manifest")
}

/// A listener that speaks TLS, for a proxy that speaks TLS to it.
const LISTENER: &str = "[[listener]]\nname = \"public\"\naddress = \"0.0.0.0:8443\"\n\
                        tls = { cert = \"shop.pem\", key = \"shop.key\" }\n";

/// Starts a proxy that trusts this certificate.
type Starter = fn(&Network, ToHosts<'_>) -> Option<ShippedProxy>;

/// The variant with TLS to the host: with the right certificate, and with another.
#[track_caller]
fn verifies(config: &str, start: Starter, scheme: &str) {
    let network = Network::new();
    let _fleet = Fleet::start(&network, &(manifest(config) + LISTENER), 3);
    let trusted = tls_client::certificate();
    let Some(proxy) = start(&network, ToHosts::Tls(&trusted)) else { return };
    expect_truth(&network, &told(client(&network, proxy.addr())), scheme);
    drop(proxy);
    let other = Authority::new("another");
    let Some(proxy) = start(&network, ToHosts::Tls(Path::new(&other.file("ca.pem")))) else {
        return;
    };
    let mut conn = client(&network, proxy.addr());
    conn.send(LIES).unwrap();
    let answer = conn.read_response("GET").unwrap();
    assert!(matches!(answer.status(), 502 | 503), "{answer}");
}

/// TLS that ends at the host, which learns of its client by the PROXY protocol.
#[track_caller]
fn passes_through(network: &Network, proxy: &ShippedProxy) {
    let conn = client(network, proxy.passthrough_addr());
    let mut conn = conn.hello().unwrap().shake_hands().unwrap();
    conn.send("GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let answer = conn.read_response("GET").unwrap();
    assert_eq!(answer.status(), 200, "{answer}");
    expect_truth(network, &answer.text(), "https");
}

#[test]
fn haproxy_says_who_the_client_is_and_passes_tls_through() {
    let network = Network::new();
    let listener = listener_in(&shipped::text("haproxy/haproxy.cfg"));
    let _fleet = Fleet::start(&network, &(manifest("haproxy/haproxy.cfg") + &listener), 3);
    let Some(proxy) = ShippedProxy::haproxy(&network, ToHosts::Plain) else { return };
    expect_truth(&network, &told(client(&network, proxy.addr())), "http");
    passes_through(&network, &proxy);
}

#[test]
fn haproxy_verifies_a_host_that_speaks_tls() {
    verifies("haproxy/haproxy.cfg", ShippedProxy::haproxy, "http");
}

#[test]
fn nginx_says_who_the_client_is_and_passes_tls_through() {
    let network = Network::new();
    let listener = listener_in(&shipped::text("nginx/passthrough.conf"));
    let _fleet = Fleet::start(&network, &(manifest("nginx/nginx.conf") + &listener), 3);
    let Some(proxy) = ShippedProxy::nginx(&network, ToHosts::Plain) else { return };
    expect_truth(&network, &told(client(&network, proxy.addr())), "http");
    if proxy.passes_through() {
        passes_through(&network, &proxy);
    }
}

#[test]
fn nginx_verifies_a_host_that_speaks_tls() {
    verifies("nginx/nginx.conf", ShippedProxy::nginx, "http");
}

#[test]
fn caddy_says_who_the_client_is() {
    let network = Network::new();
    let _fleet = Fleet::start(&network, &manifest("caddy/Caddyfile"), 3);
    let Some(proxy) = ShippedProxy::caddy(&network, ToHosts::Plain) else { return };
    expect_truth(&network, &told(client(&network, proxy.addr())), "http");
}

#[test]
fn caddy_verifies_a_host_that_speaks_tls() {
    verifies("caddy/Caddyfile", ShippedProxy::caddy, "http");
}
