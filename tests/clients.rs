//! Who the client is, by the one rule (docs/http.md): what guests read, what the access log says.

use serde_json::Value;

use crate::support::access_log::{lines, parsed};
use crate::support::app::{Folder, text};
use crate::support::chain::Chain;
use crate::support::h2raw::fields;
use crate::support::prelude::*;
use crate::support::site::Site;

/// What a client claims of itself.
const CLAIMS: &str = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\
                      X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 10.0.0.1\r\n\
                      X-Forwarded-User: root\r\nForwarded: for=203.0.113.7;proto=https\r\n";

/// What `info` tells of a request with these header lines.
#[track_caller]
fn told(conn: &mut Conn, headers: &str) -> String {
    told_at(conn, "/", headers)
}

#[track_caller]
fn told_at(conn: &mut Conn, path: &str, headers: &str) -> String {
    conn.send(format!("GET {path} HTTP/1.1\r\nHost: shop.example:80\r\n{headers}\r\n")).unwrap();
    let answer = conn.read_response("GET").unwrap();
    assert_eq!(answer.status(), 200, "{answer}");
    answer.text()
}

/// Those of its lines that tell of the client, by name.
fn forwarded(told: &str) -> Vec<&str> {
    let of_client = |line: &&str| {
        ["header.forwarded", "header.x-forwarded", "header.x-real", "scheme"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    let mut lines: Vec<_> = told.lines().filter(of_client).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_a_client_claims_of_itself_reaches_no_guest() {
    for guest in ["info_p2", "info_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        for claims in ["", CLAIMS] {
            let told = told(&mut conn, claims);
            let expected = [
                "header.forwarded: for=127.0.0.1;host=\"shop.example:80\";proto=http",
                "header.x-forwarded-for: 127.0.0.1",
                "header.x-forwarded-host: shop.example:80",
                "header.x-forwarded-proto: http",
                "scheme: http",
            ];
            assert_eq!(forwarded(&told), expected, "{guest} {claims}");
        }
    }
}

#[test]
fn a_client_of_http2_is_told_in_the_same_words() {
    let host = Host::serve("info_p2").start();
    let mut peer = H2::connect(host.addr());
    let mut sent = fields("GET", "/");
    sent.extend([("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7")]);
    peer.send_fields(1, &sent, true);
    let told = String::from_utf8(peer.expect_answer(1).body).unwrap();
    let seen = forwarded(&told);
    assert_eq!(seen.len(), 5, "{told}");
    assert!(seen.contains(&"header.x-forwarded-for: 127.0.0.1"), "{told}");
    assert!(seen[0].starts_with("header.forwarded: for=127.0.0.1;host="), "{told}");
}

#[test]
fn a_trusted_proxy_is_believed_and_named_in_the_access_log() {
    let folder = Folder::new();
    let log = folder.join("access.log");
    let host = Host::serve("info_p2")
        .args(["--trusted-proxies", "10.0.0.0/8,127.0.0.1", "--access-log", text(&log)])
        .start();
    let mut conn = host.connect();
    let sent = "X-Forwarded-For: 198.51.100.1, 203.0.113.7:4711, 10.0.0.9\r\n\
                X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-Port: 443\r\n";
    let expected = [
        "header.forwarded: for=203.0.113.7;host=shop.example;proto=https, for=10.0.0.9, for=127.0.0.1",
        "header.x-forwarded-for: 203.0.113.7, 10.0.0.9, 127.0.0.1",
        "header.x-forwarded-host: shop.example",
        "header.x-forwarded-port: 443",
        "header.x-forwarded-proto: https",
        "scheme: https",
    ];
    assert_eq!(forwarded(&told_at(&mut conn, "/list", sent)), expected);
    // By the standard's own field, over the same connection: another client.
    let sent = "Forwarded: for=198.51.100.1, For=\"[2001:db8:cafe::17]:4711\";Proto=https\r\n";
    let told_by_forwarded = told_at(&mut conn, "/forwarded", sent);
    assert!(
        forwarded(&told_by_forwarded).contains(
            &"header.forwarded: for=\"[2001:db8:cafe::17]\";host=\"shop.example:80\";proto=https, for=127.0.0.1"
        ),
        "{told_by_forwarded}"
    );
    // Both, and they contradict each other.
    let sent = "X-Forwarded-For: 203.0.113.7\r\nForwarded: for=198.51.100.1\r\n";
    let contradicting = told_at(&mut conn, "/both", sent);
    assert!(
        forwarded(&contradicting).contains(&"header.x-forwarded-for: unknown, 127.0.0.1"),
        "{contradicting}"
    );
    // The proxy for itself.
    let own = told_at(&mut conn, "/own", "");
    assert!(forwarded(&own).contains(&"header.x-forwarded-for: 127.0.0.1"), "{own}");
    let logged: Vec<_> = lines(&log, 4).iter().map(|line| parsed(line)).collect();
    for (path, client, peer, scheme) in [
        ("/list", Some("203.0.113.7"), true, "https"),
        ("/forwarded", Some("2001:db8:cafe::17"), true, "https"),
        ("/both", None, true, "http"),
        ("/own", Some("127.0.0.1"), false, "http"),
    ] {
        let line = logged.iter().find(|line| line["url.path"] == path).expect("it is logged");
        assert_eq!(line["url.scheme"], scheme, "{line}");
        assert_eq!(line.get("client.address").and_then(Value::as_str), client, "{line}");
        assert_eq!(line.get("client.port").is_some(), !peer, "{line}");
        let proxy = line.get("network.peer.address").and_then(Value::as_str);
        assert_eq!(proxy, peer.then_some("127.0.0.1"), "{line}");
    }
}

/// Requests that no guest sees have a client too.
#[test]
fn a_refused_request_has_the_client_that_its_proxy_names() {
    let folder = Folder::new();
    let log = folder.join("access.log");
    let host = Host::serve("info_p2")
        .args(["--trusted-proxies", "127.0.0.0/8", "--access-log", text(&log)])
        .start();
    let mut conn = host.connect();
    conn.send("GET / HTTP/1.1\r\nHost: a b\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n").unwrap();
    assert_eq!(conn.read_response("GET").unwrap().status(), 400);
    assert_eq!(parsed(&lines(&log, 1)[0])["client.address"], "203.0.113.7");
}

#[test]
fn a_proxy_on_a_unix_socket_is_trusted_by_its_own_word() {
    for (args, client, scheme) in [
        (&["--trusted-proxies", "unix"][..], "203.0.113.7, unknown", "https"),
        (&["--trusted-proxies", "0.0.0.0/0,::/0"], "unknown", "http"),
        (&[], "unknown", "http"),
    ] {
        let host = Host::serve("info_p2").unix().args(args).start();
        let mut conn = Conn::connect(host.unix_path()).unwrap();
        let told = told(&mut conn, CLAIMS);
        let seen = forwarded(&told);
        assert!(seen.contains(&&*format!("header.x-forwarded-for: {client}")), "{told}");
        assert!(seen.contains(&&*format!("scheme: {scheme}")), "{told}");
    }
}

/// The next one is told what the host knows, whatever the plugin before it has written.
#[test]
fn no_plugin_forges_who_the_client_is() {
    for kinds in [["mark_p2", "mark_p3"], ["mark_p3", "mark_p2"]] {
        for app in ["info_p2", "info_p3"] {
            let host = Chain::new(&kinds, app).start();
            let mut conn = host.connect();
            let forge = "X-Forge: x-forwarded-for=203.0.113.7\r\nX-Forge: forwarded=for=203.0.113.7\r\n\
                         X-Forge: x-forwarded-proto=https\r\nX-Forge: x-forwarded-host=evil.example\r\n\
                         X-Forge: x-forwarded-prefix=/own\r\n";
            let told = told(&mut conn, forge);
            let expected = [
                "header.forwarded: for=127.0.0.1;host=\"shop.example:80\";proto=http",
                "header.x-forwarded-for: 127.0.0.1",
                "header.x-forwarded-host: shop.example:80",
                // A plugin is trusted with what the host does not write itself.
                "header.x-forwarded-prefix: /own",
                "header.x-forwarded-proto: http",
                "scheme: http",
            ];
            assert_eq!(forwarded(&told), expected, "{kinds:?} {app}");
        }
    }
}

#[test]
fn the_example_for_rate_limits_tells_clients_apart_by_their_addresses() {
    let site = Chain::new(&["ratelimit_p3"], "info_p2")
        .say("one", "config.capacity = \"2\"\nconfig.refill = \"0.001\"")
        .say("one", "grants.keyvalue.ratelimit = \"main\"")
        .and("[keyvalue.main]\nbackend = \"memory\"\n[listen]\ntrusted-proxies = [\"127.0.0.1\"]")
        .toml();
    let host = Site::new(&site).serve().start();
    let mut conn = host.connect();
    let mut status = |client: &str| {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {client}\r\nX-Forwarded-For: 1.1.1.1, {client}\r\n\r\n"
        );
        conn.send(request).unwrap();
        conn.read_response("GET").unwrap().status()
    };
    let statuses: Vec<_> = (0..3).map(|_| status("203.0.113.7")).collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(status("203.0.113.8"), 200);
}

#[test]
fn what_is_no_network_is_refused_at_the_start() {
    let app = guest("hello_p2");
    for (list, why) in [
        ("10.0.0.1/8", "write 10.0.0.0/8, or 10.0.0.1 for the one address"),
        ("10.0.0.0/8,proxy.example", "neither a network nor an address"),
        ("::ffff:10.0.0.1", "write 10.0.0.1 and a prefix of IPv4"),
    ] {
        let exit = Host::run(["serve", text(&app), "--trusted-proxies", list]);
        exit.expect_code(2);
        assert!(exit.stderr.contains(why), "{}", exit.stderr);
    }
    let manifest = "[listen]\ntrusted-proxies = [\"10.0.0.1/8\"]\n[component.app]\nsource = \"guest:hello_p2\"\n";
    let site = Site::new(manifest);
    let path = site.file("host.toml");
    let exit = Host::run(["check", &path]);
    exit.expect_code(2);
    assert!(exit.stderr.contains("host.toml:2:"), "{}", exit.stderr);
    assert!(exit.stderr.contains("write 10.0.0.0/8"), "{}", exit.stderr);
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\nproxy-protocol = true\n";
    let manifest = format!("{}{listener}", manifest.replace("10.0.0.1/8", "10.0.0.0/8"));
    site.write(&manifest);
    Host::run(["check", &path]).expect_code(0);
    site.write(&manifest.replace("\"10.0.0.0/8\"", ""));
    let exit = Host::run(["check", &path]);
    exit.expect_code(2);
    assert!(exit.stderr.contains("proxy-protocol is for trusted proxies only"), "{}", exit.stderr);
}
