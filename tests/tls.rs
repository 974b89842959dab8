//! HTTPS: which certificate a client is shown, what is agreed upon, who may connect, and what guests are told of that.

use std::process::Command;

use rustls::{ProtocolVersion, version};
use serde_json::json;

use crate::support::certificates::{Authority, TlsClient};
use crate::support::metrics::Metrics;
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::status::{json, status};

/// Serves a guest over TLS with a certificate for `localhost`, with these flags beside.
fn serve(authority: &Authority, guest: &str, more: &[&str]) -> Host {
    authority.write("a", "localhost");
    let flags = authority.flags("a");
    let more = more.iter().map(ToString::to_string);
    Host::serve(guest).no_tcp().control().args(flags.into_iter().chain(more)).start()
}

/// What the guest `info` says of its request, by the beginning of the line.
fn said(answer: &Response, what: &str) -> Vec<String> {
    let text = answer.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix(what)?.strip_prefix(": "));
    lines.map(str::to_owned).collect()
}

#[test]
fn https_is_served_beside_http_and_its_address_is_a_bare_one() {
    let authority = Authority::new("test");
    authority.write("a", "localhost");
    let host = Host::serve("info_p2").args(authority.flags("a")).start();
    assert_eq!(host.addrs().len(), 2, "{:?}", host.addrs());
    assert_eq!(said(&host.get("/"), "scheme"), ["http"]);
    let client = authority.client();
    let mut conn = client.connect(&host, "localhost").unwrap();
    assert_eq!(conn.get("/").unwrap().status(), 200);
    assert_eq!(conn.get("/again").unwrap().status(), 200, "it is kept alive");
    assert_eq!(conn.tls().protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let other = Authority::new("other").client();
    assert!(other.connect(&host, "localhost").is_err(), "it does not trust ours");
}

#[test]
fn curl_and_openssl_are_served_over_http_1_and_2() {
    let authority = Authority::new("test");
    let host = serve(&authority, "hello_p2", &[]);
    let Some(Target::Tcp(address)) = host.addrs().last() else { panic!("no address") };
    let (port, ca) = (address.port(), authority.file("ca.pem"));
    for (version, number) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let curl = Command::new("curl")
            .args(["-sS", version, "--cacert", &ca, "-w", "%{http_version} %{http_code}"])
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
            .arg(format!("https://localhost:{port}/"))
            .output()
            .expect("curl is needed to build");
        let said = String::from_utf8_lossy(&curl.stdout).into_owned();
        assert_eq!(said, format!("hello world\n{number} 200"), "{curl:?}");
    }
    let openssl = |args: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address.to_string(), "-CAfile", &ca, "-brief"]);
        command.args(args).stdin(std::process::Stdio::null());
        command.output().ok().map(|it| {
            String::from_utf8_lossy(&it.stderr).into_owned() + &String::from_utf8_lossy(&it.stdout)
        })
    };
    let Some(said) = openssl(&["-servername", "localhost", "-alpn", "h2"]) else {
        println!("skipped: there is no openssl program here");
        return;
    };
    assert!(
        said.contains("Protocol version: TLSv1.3") && said.contains("Verification: OK"),
        "{said}"
    );
    let old = openssl(&["-tls1_2", "-servername", "localhost"]).unwrap();
    assert!(old.contains("Ciphersuite: ECDHE-ECDSA-"), "{old}");
    for refused in [&["-tls1_1"][..], &["-tls1_2", "-cipher", "AES128-SHA256"]] {
        let said = openssl(refused).unwrap();
        assert!(!said.contains("CONNECTION ESTABLISHED"), "{refused:?}: {said}");
    }
}

#[test]
fn https_is_served_at_a_unix_socket_too() {
    let authority = Authority::new("test");
    authority.write("a", "localhost");
    let path = authority.file("s.sock");
    let flags = authority.flags("a").into_iter();
    let flags = flags.map(|flag| if flag == "127.0.0.1:0" { format!("unix:{path}") } else { flag });
    let host = Host::serve("hello_p2").no_tcp().args(flags).start();
    assert_eq!(host.addrs(), [Target::Unix(path.clone().into())]);
    let curl = Command::new("curl")
        .args(["-sS", "--cacert", &authority.file("ca.pem"), "--unix-socket", &path])
        .arg("https://localhost/")
        .output()
        .expect("curl is needed to build");
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "hello world\n", "{curl:?}");
}

#[test]
fn clients_are_shown_the_certificate_of_the_name_they_ask_for() {
    let authority = Authority::new("test");
    let first = authority.write("first", "first.example");
    let wild = authority.issue(&["*.wild.example"]);
    authority.put("wild", &wild);
    let [cert, key] = ["wild.pem", "wild.key"].map(|file| authority.file(file));
    let mut flags = authority.flags("first");
    flags.extend(["--tls-cert".to_owned(), cert, "--tls-key".to_owned(), key]);
    let host = Host::serve("hello_p2").no_tcp().args(flags).start();
    let client = authority.client();
    let shown = |name| client.connect(&host, name).unwrap().shown();
    assert_eq!(shown("first.example"), *first.der());
    assert_eq!(shown("a.wild.example"), *wild.der());
    let unknown = client.connect(&host, "unknown.example").unwrap_err().to_string();
    assert!(unknown.contains("first.example"), "the first one is for all others: {unknown}");
}

#[test]
fn versions_and_protocols_are_those_of_the_manifest() {
    static ONLY_TLS12: [&rustls::SupportedProtocolVersion; 1] = [&version::TLS12];
    let authority = Authority::new("test");
    authority.write("a", "localhost");
    let manifest = |more: &str| {
        let [cert, key] = ["a.pem", "a.key"].map(|file| authority.file(file));
        Site::new(&format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = {{ cert = \"{cert}\", key = \"{key}\" }}\n\
             {more}\n[component.app]\nsource = \"guest:hello_p2\"\n"
        ))
    };
    let site = manifest("");
    let host = site.serve().no_tcp().start();
    let old = authority.client().speaking(&ONLY_TLS12);
    let conn = old.connect(&host, "localhost").unwrap();
    assert_eq!(conn.tls().protocol_version(), Some(ProtocolVersion::TLSv1_2));
    let both = authority.client().asking_for(&["http/1.1", "h2"]);
    assert_eq!(both.connect(&host, "localhost").unwrap().tls().alpn_protocol(), Some(&b"h2"[..]));
    let site = manifest("tls-min = \"1.3\"\nalpn = [\"http/1.1\"]");
    let host = site.serve().no_tcp().start();
    assert!(old.connect(&host, "localhost").is_err());
    let mut conn = both.connect(&host, "localhost").unwrap();
    assert_eq!(conn.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(conn.get("/").unwrap().status(), 200);
    // Nor does it get by without having asked for it.
    let silent = authority.client().asking_for(&[]);
    let mut conn = silent.connect(&host, "localhost").unwrap();
    let answer = conn.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    assert_eq!((answer.status(), conn.tls().alpn_protocol()), (400, None));
}

/// What a client sends to pass for another one.
const FORGED: &str = "GET / HTTP/1.1\r\nHost: t\r\nClient-Cert: :AAAA:\r\nclient-cert-chain: :AAAA:\r\n\
                      X-Client-Cert-Subject: CN=admin\r\nx-client-cert-subject: CN=root\r\n\
                      X-Client-Cert-San: \"DNS:admin\"\r\nx-client-cert-sha256: 00\r\n\r\n";

/// What a guest is told of certificates.
fn told(answer: &Response) -> Vec<String> {
    let all = answer
        .text()
        .lines()
        .filter(|line| line.contains("client-cert"))
        .map(str::to_owned)
        .collect();
    assert_eq!(answer.status(), 200, "{answer}");
    all
}

#[test]
fn a_guest_is_told_what_certificate_its_client_has_and_nobody_else_can_say_that() {
    let (authority, clients) = (Authority::new("test"), Authority::new("clients"));
    let ca = clients.file("ca.pem");
    let optional = ["--tls-client-ca", &ca, "--tls-client-auth", "optional"];
    let host = serve(&authority, "info_p2", &optional);
    let nobody = authority.client();
    let ask = |client: &TlsClient| {
        client.connect(&host, "localhost").and_then(|mut conn| conn.ask(FORGED))
    };
    assert_eq!(told(&ask(&nobody).unwrap()), [""; 0]);
    let known = clients.issue(&["client.example", "spiffe://cluster/ns/shop"]);
    let der = known.der().to_vec();
    let answer = ask(&authority.client().showing(known)).unwrap();
    assert_eq!(said(&answer, "header.x-client-cert-subject"), ["CN=client.example,O=Tests"]);
    let san = "\"DNS:client.example\", \"URI:spiffe://cluster/ns/shop\"";
    assert_eq!(said(&answer, "header.x-client-cert-san"), [san]);
    let base64 = data(&der);
    assert_eq!(said(&answer, "header.client-cert"), [format!(":{base64}:")]);
    assert_eq!(said(&answer, "header.x-client-cert-sha256")[0].len(), 64);
    assert_eq!(told(&answer).len(), 4, "{answer}");
    for wrong in
        [authority.issue(&["client.example"]), clients.issue_until(&["client.example"], 2021)]
    {
        assert!(ask(&authority.client().showing(wrong)).is_err());
    }
}

#[test]
fn who_has_no_certificate_stays_out_where_one_is_required() {
    let (authority, clients) = (Authority::new("test"), Authority::new("clients"));
    let host = serve(&authority, "info_p2", &["--tls-client-ca", &clients.file("ca.pem")]);
    let ask =
        |client: TlsClient| client.connect(&host, "localhost").and_then(|mut conn| conn.get("/"));
    assert!(ask(authority.client()).is_err());
    let known = clients.issue(&["client.example"]);
    assert_eq!(told(&ask(authority.client().showing(known)).unwrap()).len(), 4);
    assert!(ask(authority.client()).is_err());
}

#[test]
fn a_plain_listener_takes_the_headers_away_too() {
    let host = Host::serve("info_p2").start();
    let mut conn = host.connect();
    conn.send(FORGED).unwrap();
    assert_eq!(told(&conn.read_response("GET").unwrap()), [""; 0]);
}

/// Libraries put trailers beside the fields of the head, and CGI makes one name of `-` and `_`.
#[test]
fn nobody_says_who_the_client_is_in_trailers_or_with_other_dashes() {
    let host = Host::serve("echo_p3").start();
    let mut conn = host.connect();
    conn.send(
        "POST / HTTP/1.1\r\nHost: t\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\
         Trailer: Client-Cert, X-Forwarded-For, x_client_cert_subject, X-Sum\r\n\r\n\
         1\r\nx\r\n0\r\nClient-Cert: :AAAA:\r\nX-Forwarded-For: 6.6.6.6\r\n\
         x_client_cert_subject: CN=root\r\nX-Sum: 42\r\n\r\n",
    )
    .unwrap();
    let answer = conn.read_response("POST").unwrap();
    assert_eq!(answer.body.trailers, [("x-sum".to_owned(), "42".to_owned())]);
    let host = Host::serve("info_p2").start();
    let mut conn = host.connect();
    conn.send(
        "GET / HTTP/1.1\r\nHost: t\r\nx_client_cert_subject: CN=root\r\nX_Real_IP: 6.6.6.6\r\n\
         x-forwarded_for: 6.6.6.6\r\nx_other: stays\r\n\r\n",
    )
    .unwrap();
    let told = conn.read_response("GET").unwrap().text();
    assert!(!told.contains("6.6.6.6") && !told.contains("CN=root"), "{told}");
    assert!(told.contains("header.x_other: stays\n"), "{told}");
}

/// The plugin `mark` appends to a header of each request that it passes on: here to those of certificates.
#[test]
fn a_plugin_cannot_say_who_the_client_is() {
    let (authority, clients) = (Authority::new("test"), Authority::new("clients"));
    authority.write("a", "localhost");
    let [cert, key] = ["a.pem", "a.key"].map(|file| authority.file(file));
    let ca = clients.file("ca.pem");
    let site = Site::new(&format!(
        r#"
        [[listener]]
        address = "127.0.0.1:0"
        tls = {{ cert = "{cert}", key = "{key}" }}
        client-ca = "{ca}"
        client-auth = "optional"
        [component.app]
        source = "guest:info_p2"
        [component.forger]
        source = "guest:mark_p2"
        config = {{ mark = "CN=admin", header = "x-client-cert-subject" }}
        [[route]]
        path = "/"
        component = "app"
        chain = ["forger"]
        "#
    ));
    let host = site.serve().no_tcp().start();
    let ask = |client: TlsClient| client.connect(&host, "localhost").unwrap().ask(FORGED).unwrap();
    assert_eq!(told(&ask(authority.client())), [""; 0]);
    let answer = ask(authority.client().showing(clients.issue(&["client.example"])));
    assert_eq!(said(&answer, "header.x-client-cert-subject"), ["CN=client.example,O=Tests"]);
    assert_eq!(told(&answer).len(), 4, "{answer}");
}

/// Base64, for a test that looks at what stands in a header.
fn data(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[test]
fn certificates_are_in_status_and_metrics_and_one_near_its_end_is_warned_of() {
    let authority = Authority::new("test");
    authority.put("a", &authority.issue_until(&["localhost", "other.example"], 2021));
    let host = Host::serve("hello_p2")
        .no_tcp()
        .control()
        .args(authority.flags("a"))
        .args(["--health-addr", "127.0.0.1:0"])
        .start();
    let line = host.wait_log("ended 2021-01-01T00:00:00Z: clients refuse it; renew it");
    assert!(line.contains("the certificate localhost ("), "{line}");
    let status = status(&host);
    let [listener] = &status["tls"].as_array().unwrap()[..] else { panic!("{status}") };
    let label = listener["listener"].clone();
    assert_eq!(label, "127.0.0.1:0", "as it was asked for");
    let certificate = &listener["certificates"][0];
    assert_eq!(certificate["names"], json!(["localhost", "other.example"]));
    assert_eq!(certificate["not_after"], "2021-01-01T00:00:00Z");
    assert!(certificate["left_s"].as_i64().unwrap() < 0, "{certificate}");
    assert_eq!(listener["errors"], json!([]));
    let text = host.ctl(["status"]).stdout;
    let line =
        "\ncertificate  127.0.0.1:0: localhost and 1 more ended 2021-01-01T00:00:00Z, loaded ";
    assert!(text.contains(line), "{text}");
    let metrics = Metrics::of(&host);
    let ends =
        metrics.sum("host_tls_certificate_expiration_timestamp_seconds", &[("name", "localhost")]);
    assert!((ends - 1_609_459_200.0).abs() < 0.5, "{ends}");
    host.ctl(["reload-tls"]).expect_code(0);
    let metrics = Metrics::of(&host);
    let reloads = |outcome| metrics.sum("host_tls_reloads_total", &[("outcome", outcome)]);
    assert_eq!(["reloaded", "unchanged", "rejected"].map(reloads), [0.0, 1.0, 0.0]);
}

#[test]
fn a_start_and_a_check_refuse_what_cannot_be_served_with_its_line() {
    let authority = Authority::new("test");
    authority.write("a", "localhost");
    authority.write("b", "localhost");
    let manifest = |cert: &str, key: &str| {
        let [cert, key] = [cert, key].map(|file| authority.file(file));
        Site::new(&format!(
            "[component.app]\nsource = \"guest:hello_p2\"\n[[listener]]\nname = \"public\"\n\
             address = \"127.0.0.1:0\"\ntls = {{ cert = \"{cert}\", key = \"{key}\" }}\n"
        ))
    };
    authority.put_text("empty.pem", "");
    for (cert, key, says) in [
        ("a.pem", "b.key", "b.key is not that of the certificate in"),
        ("empty.pem", "a.key", "empty.pem is empty"),
        ("a.key", "a.key", "has no certificate in it, but a key"),
        ("a.pem", "a.pem", "has no private key in it, but a certificate"),
    ] {
        let site = manifest(cert, key);
        for args in [&["serve", "--control", "off"][..], &["serve", "--dry-run"], &["check"]] {
            let exit = Host::run(args.iter().copied().chain([site.text()]));
            exit.expect_code(3);
            let place = format!("{}:6: listener public: ", site.text());
            assert!(
                exit.stderr.contains(&place) && exit.stderr.contains(says),
                "{args:?} {}",
                exit.stderr
            );
            assert_eq!(exit.stdout, "");
        }
    }
    let missing = manifest("none.pem", "a.key");
    let exit = Host::run(["serve", missing.text()]);
    exit.expect_code(2);
    assert!(
        exit.stderr.contains("host.toml:6:") && exit.stderr.contains("is not there"),
        "{}",
        exit.stderr
    );
    let site = manifest("a.pem", "a.key");
    let exit = Host::run(["check", site.text()]);
    exit.expect_code(0);
    let lines = "listener public: TLS from 1.2, h2 http/1.1\n  certificate ";
    assert!(exit.stdout.contains(lines), "{}", exit.stdout);
    assert!(exit.stdout.contains(": localhost, until 2120-01-01T00:00:00Z\n"), "{}", exit.stdout);
    authority.put("a", &authority.issue_until(&["localhost"], 2021));
    let exit = Host::run(["check", "--strict", "--json", site.text()]);
    exit.expect_code(1);
    let report = json(&exit);
    assert_eq!(
        report["listeners"][0]["tls"]["certificates"][0]["not_after"],
        "2021-01-01T00:00:00Z"
    );
    let warning = report["warnings"][0].as_str().unwrap();
    assert!(warning.contains("ended 2021-01-01T00:00:00Z: clients refuse it"), "{warning}");
}
