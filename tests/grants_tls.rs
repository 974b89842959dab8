//! Outgoing requests over TLS: to a server that is trusted, and to no other.

use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::tls::Tls;

const GUESTS: [&str; 2] = ["grants_p2", "grants_p3"];

fn granted(guest: &str, port: u16) -> Site {
    Site::new(&format!(
        "[component.app]\nsource = \"guest:{guest}\"\n[component.app.grants]\n\
         outgoing = [\"https://localhost:{port}\", \"https://127.0.0.1:{port}\"]\n\
         outgoing-addresses = [\"loopback\"]\n"
    ))
}

#[test]
fn server_with_a_certificate_of_a_trusted_authority_is_reached() {
    let Some(server) = Tls::start() else { return };
    for guest in GUESTS {
        let site = granted(guest, server.port());
        let host = site.serve().env("SSL_CERT_FILE", server.authority()).start();
        let url = format!("https://localhost:{}/", server.port());
        let text = host.get(&format!("/fetch?url={url}")).text();
        assert!(text.starts_with("200\n"), "{text}");
        // The certificate is for the name.
        let url = format!("https://127.0.0.1:{}/", server.port());
        let text = host.get(&format!("/fetch?url={url}")).text();
        assert_eq!(text, "error: tls-certificate-error\n");
        let url = format!("http://localhost:{}/", server.port());
        let text = host.get(&format!("/fetch?url={url}")).text();
        assert_eq!(text, "error: http-request-denied\n", "the grant is for https");
    }
}

#[test]
fn server_with_a_certificate_of_an_unknown_authority_is_not_reached() {
    let Some(server) = Tls::start() else { return };
    for guest in GUESTS {
        let host = granted(guest, server.port()).serve().start();
        for name in ["localhost", "127.0.0.1", "localhost"] {
            let url = format!("https://{name}:{}/", server.port());
            let text = host.get(&format!("/fetch?url={url}")).text();
            assert_eq!(text, "error: tls-certificate-error\n");
        }
        // An operator saw requests fail, and nothing of why; now once for each server.
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        exit.expect_code(0);
        let told = |line: &&str| line.contains("the certificate of");
        let lines: Vec<_> = exit.stderr.lines().filter(told).collect();
        assert_eq!(lines.len(), 2, "{}", exit.stderr);
        for (line, name) in lines.into_iter().zip(["localhost", "127.0.0.1"]) {
            let of = format!("the certificate of {name}:{} is refused: its issuer", server.port());
            assert!(line.contains(&of) && line.contains("component=\"app\""), "{line}");
        }
    }
}
