//! The PROXY protocol: who the client is by the word of a proxy that understands nothing above TCP.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::support::access_log::{lines, parsed};
use crate::support::haproxy::HaProxy;
use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::tls_client;

/// A listener that expects the header, and the proxies that are trusted.
fn site(guest: &str, trusted: &str) -> Site {
    Site::new(&format!(
        "[listen]\ntrusted-proxies = [{trusted:?}]\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         proxy-protocol = true\n[log]\naccess = \"access.log\"\n\
         [component.app]\nsource = \"guest:{guest}\"\n"
    ))
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, rest].concat()
}

const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 2, 0x12, 0x67, 1, 187];

/// The address of a client that has come to the proxy by TLS (PP2_TYPE_SSL).
fn by_tls() -> Vec<u8> {
    version_2(0x21, 0x11, &[&V4[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat())
}

#[test]
fn the_client_is_who_the_header_names() {
    let site = site("info_p2", "127.0.0.0/8");
    let host = site.serve().no_tcp().control().start();
    let v6 = "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".as_bytes().to_vec();
    for (number, (header, client, address, scheme)) in (1..).zip([
        (
            b"PROXY TCP4 203.0.113.7 192.0.2.2 4711 443\r\n".to_vec(),
            "203.0.113.7",
            "203.0.113.7:4711",
            "http",
        ),
        (v6, "2001:db8::7", "[2001:db8::7]:4711", "http"),
        (version_2(0x21, 0x11, &V4), "203.0.113.7", "203.0.113.7:4711", "http"),
        (by_tls(), "203.0.113.7", "203.0.113.7:4711", "https"),
        // The proxy for itself, and one that does not know.
        (version_2(0x20, 0x00, &[]), "127.0.0.1", "127.0.0.1:", "http"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1", "127.0.0.1:", "http"),
        (version_2(0x21, 0x31, &[b'x'; 216]), "unknown", "unix", "http"),
    ]) {
        let mut conn = host.connect();
        conn.send([header, REQUEST.into()].concat()).unwrap();
        let told = conn.read_response("GET").unwrap().text();
        assert!(told.contains(&format!("header.x-forwarded-for: {client}\n")), "{told}");
        assert!(told.contains(&format!("\nscheme: {scheme}\n")), "{told}");
        // A second request of the same connection, without a header of its own.
        conn.send(REQUEST).unwrap();
        let told = conn.read_response("GET").unwrap().text();
        assert!(told.contains(&format!("header.x-forwarded-for: {client}\n")), "{told}");
        let listed = host.ctl(["connections", "--json"]);
        assert!(listed.stdout.contains(&format!("\"peer\":\"{address}")), "{}", listed.stdout);
        let line = parsed(&lines(&site.folder.join("access.log"), 2 * number)[2 * number - 1]);
        let logged = line.get("client.address").and_then(Value::as_str);
        assert_eq!(logged.unwrap_or("unknown"), client, "{line}");
        if !address.starts_with("127") {
            assert_eq!(line["network.peer.address"], "127.0.0.1", "{line}");
        }
    }
}

/// A chain of proxies: the one that the header names is trusted, and what it says of its client counts.
#[test]
fn the_header_gives_the_rule_its_peer() {
    let host = site("info_p2", "127.0.0.0/8").serve().no_tcp().start();
    for (named, client) in [("127.0.0.9", "203.0.113.7, 127.0.0.9"), ("192.0.2.9", "192.0.2.9")] {
        let mut conn = host.connect();
        conn.send(format!(
            "PROXY TCP4 {named} 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\
             X-Forwarded-For: 203.0.113.7\r\n\r\n"
        ))
        .unwrap();
        let told = conn.read_response("GET").unwrap().text();
        assert!(told.contains(&format!("header.x-forwarded-for: {client}\n")), "{told}");
    }
}

#[test]
fn http2_begins_at_the_byte_behind_the_header() {
    let host = site("info_p2", "127.0.0.1").serve().no_tcp().start();
    let mut conn = host.connect();
    conn.send(by_tls()).unwrap();
    let mut peer = H2::over(conn, 65_535);
    peer.get(1, "/");
    let told = String::from_utf8(peer.expect_answer(1).body).unwrap();
    assert!(told.contains("header.x-forwarded-for: 203.0.113.7\n"), "{told}");
}

#[test]
fn connections_without_a_header_are_closed_and_counted_by_reason() {
    let host = site("hello_p2", "127.0.0.1").serve().no_tcp().args(metrics::ARGS).start();
    for sent in [REQUEST, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PROXY TCP4 a b c d\r\n"] {
        let mut conn = host.connect();
        conn.send(sent).unwrap();
        let (said, _) = conn.expect_reset_or_eof();
        assert_eq!(said, b"", "to {sent:?}");
    }
    // Who only connects, as a probe does, is refused nothing.
    host.connect().half_close();
    let stranger = site("hello_p2", "192.0.2.0/24").serve().no_tcp().args(metrics::ARGS).start();
    let mut conn = stranger.connect();
    // It may be closed by then.
    conn.send("PROXY TCP4 203.0.113.7 192.0.2.2 4711 443\r\n").ok();
    let (said, _) = conn.expect_reset_or_eof();
    assert_eq!(said, b"");
    for (host, reasons) in [
        (&host, [("missing", 2.0), ("malformed", 1.0), ("untrusted", 0.0)]),
        (&stranger, [("untrusted", 1.0), ("missing", 0.0), ("late", 0.0)]),
    ] {
        let of = |told: &Metrics, reason| {
            told.sum("host_proxy_protocol_refused_total", &[("reason", reason)])
        };
        let all = |told: &Metrics| reasons.iter().all(|(reason, n)| of(told, reason) == *n);
        Metrics::wait(host, all);
        host.wait_log("no header of the PROXY protocol");
        // Once for each reason, however many there are.
        let told = host.log().matches("no header of the PROXY protocol").count();
        assert_eq!(told, reasons.iter().filter(|(_, count)| *count > 0.0).count());
    }
}

/// The schedule that could lose a request: the header has come, the stop begins, and the request is still to come.
#[test]
fn a_stop_loses_no_request_behind_a_header() {
    let host = site("hello_p2", "127.0.0.1").serve().no_tcp().start();
    let header = "PROXY TCP4 203.0.113.7 192.0.2.2 4711 443\r\n";
    let (half, rest) = header.split_at(20);
    let mut begun = host.connect();
    begun.send(half).unwrap();
    let mut whole = host.connect();
    whole.send(header).unwrap();
    let mut served = host.connect();
    served.send([header, REQUEST].concat()).unwrap();
    assert_eq!(served.read_response("GET").unwrap().status(), 200);
    // Not accepted yet when the signal comes, perhaps: it is in the queue of the kernel then.
    let mut queued = host.connect();
    queued.send([header, REQUEST].concat()).unwrap();
    host.signal(Signal::TERM);
    host.wait_log(says::DRAINING);
    begun.send([rest, REQUEST].concat()).unwrap();
    whole.send(REQUEST).unwrap();
    for mut conn in [begun, whole, queued] {
        assert_eq!(conn.read_response("GET").unwrap().status(), 200);
        conn.expect_fin();
    }
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// The header comes before the handshake. Both are halved by the beginning of a stop.
#[test]
fn tls_begins_behind_the_header_and_a_stop_between_them_loses_nothing() {
    let (cert, key) = (tls_client::certificate(), tls_client::key());
    let site = Site::new(&format!(
        "[listen]\ntrusted-proxies = [\"127.0.0.1\"]\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         proxy-protocol = true\ntls = {{ cert = {cert:?}, key = {key:?} }}\n\
         [component.app]\nsource = \"guest:info_p2\"\n"
    ));
    let host = site.serve().no_tcp().start();
    // The proxy's own word on TLS is not asked here, where the host sees it.
    let header = version_2(0x21, 0x11, &V4);
    let (half, rest) = header.split_at(20);
    let connect = |sent: &[u8]| {
        let mut conn = host.connect();
        conn.send(sent).unwrap();
        conn
    };
    let served = connect(&header).hello().unwrap().shake_hands().unwrap();
    let (begun, whole) = (connect(half), connect(&header));
    let greeted = connect(&header).hello().unwrap();
    let idle = connect(&header).hello().unwrap().shake_hands().unwrap();
    let told_in = |mut conn: Conn| {
        conn.send(REQUEST).unwrap();
        let told = conn.read_response("GET").unwrap().text();
        assert!(told.contains("header.x-forwarded-for: 203.0.113.7\n"), "{told}");
        assert!(told.contains("\nscheme: https\n"), "{told}");
        conn
    };
    told_in(served);
    host.signal(Signal::TERM);
    host.wait_log(says::DRAINING);
    let mut begun = begun;
    begun.send(rest).unwrap();
    let begun = begun.hello().unwrap().shake_hands().unwrap();
    let whole = whole.hello().unwrap().shake_hands().unwrap();
    for conn in [begun, whole, greeted.shake_hands().unwrap(), idle] {
        told_in(conn).expect_fin();
    }
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// Clients of HAProxy, and requests that each makes over connections of its own.
const CLIENTS: usize = 8;
const REQUESTS: usize = 60;

fn ask(proxy: &HaProxy) -> Result<Response, String> {
    let mut conn = Conn::connect(proxy.addr()).map_err(|why| why.to_string())?;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    conn.send(request).map_err(|why| why.to_string())?;
    conn.read_response("GET").map_err(|why| why.to_string())
}

/// Hosts behind HAProxy, all but one of which stop one after the other while clients are busy.
#[track_caller]
fn lose_nothing_behind_haproxy(words: &str) {
    let hosts: Vec<_> =
        (0..4).map(|_| site("info_p2", "127.0.0.1").serve().no_tcp().start()).collect();
    let servers: Vec<_> = hosts.iter().map(Host::addr).collect();
    let backend = "    option forwardfor\n";
    let Some(proxy) = HaProxy::start(&servers, words, backend) else { return };
    let (answered, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let client = || {
            for _ in 0..REQUESTS {
                let answer = ask(&proxy);
                let is_right = answer.as_ref().is_ok_and(|answer| {
                    // HAProxy's own client is 127.0.0.1 too; its header says so, and so does its field.
                    answer.status() == 200
                        && answer.text().contains("header.x-forwarded-for: 127.0.0.1")
                });
                if !is_right {
                    failed.store(true, Ordering::SeqCst);
                    panic!("{answer:?}");
                }
                answered.fetch_add(1, Ordering::SeqCst);
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let mut hosts = hosts.into_iter();
        // Each stops when a part of the requests has been answered; the last one serves the rest.
        for part in 1..=3 {
            let wanted = part * CLIENTS * REQUESTS / 5;
            while answered.load(Ordering::SeqCst) < wanted && !failed.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            let host = hosts.next().unwrap();
            host.signal(Signal::TERM);
            host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
        }
        for client in clients {
            client.join().expect("a request was lost");
        }
    });
    assert_eq!(answered.into_inner(), CLIENTS * REQUESTS);
}

#[test]
fn hosts_behind_haproxy_stop_one_after_the_other_and_lose_nothing_version_1() {
    lose_nothing_behind_haproxy("send-proxy");
}

#[test]
fn hosts_behind_haproxy_stop_one_after_the_other_and_lose_nothing_version_2() {
    lose_nothing_behind_haproxy("send-proxy-v2 proxy-v2-options crc32c,ssl,unique-id");
}

/// Its checks come with LOCAL, and are answered.
#[test]
fn checks_of_haproxy_find_a_host_that_is_well() {
    let host = site("hello_p2", "127.0.0.1").serve().no_tcp().args(metrics::ARGS).start();
    let backend = "    option httpchk GET /\n";
    let words = "send-proxy-v2 check check-send-proxy inter 50ms";
    let Some(proxy) = HaProxy::start(&[host.addr()], words, backend) else { return };
    let mut conn = Conn::connect(proxy.addr()).unwrap();
    assert_eq!(conn.get("/").unwrap().status(), 200);
    // More than that of the client: those of checks.
    Metrics::wait(&host, |told| told.sum("host_requests_accepted_total", &[]) >= 3.0);
    let told = Metrics::wait(&host, |_| true);
    assert_eq!(told.sum("host_proxy_protocol_refused_total", &[]), 0.0);
}
