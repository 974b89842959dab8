//! Where a guest may connect to: exactly where the manifest says, by scheme, host, port and address.

use std::net::SocketAddr;

use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::upstream::Upstream;

const GUESTS: [&str; 2] = ["grants_p2", "grants_p3"];

/// One component with these grants.
fn granted(guest: &str, grants: &str) -> Site {
    Site::new(&format!(
        "[component.app]\nsource = \"guest:{guest}\"\n[component.app.grants]\n{grants}\n"
    ))
}

/// What the guest says of a request to `url`.
#[track_caller]
fn fetch(host: &Host, url: &str) -> String {
    let answer = host.get(&format!("/fetch?url={url}"));
    assert_eq!(answer.status(), 200, "{answer}");
    answer.text()
}

/// What it says of one that is refused, whose reason the log has.
#[track_caller]
fn refused(host: &Host, url: &str, why: &str) -> String {
    let mark = host.mark();
    let text = fetch(host, url);
    let line = host.wait_log_after(mark, "outgoing request refused");
    assert!(line.contains(why) && line.contains("component=\"app\""), "no {why:?} in {line}");
    text
}

const DENIED: &str = "error: http-request-denied\n";
const PROHIBITED: &str = "error: destination-ip-prohibited\n";

#[test]
fn guest_without_the_grant_sends_nothing_and_the_log_says_so() {
    for guest in GUESTS {
        let upstream = Upstream::start();
        let host = granted(guest, "").serve().start();
        let url = format!("http://127.0.0.1:{}/", upstream.port());
        assert_eq!(refused(&host, &url, "nothing is (grants.outgoing)"), DENIED);
        assert_eq!(upstream.requests(), 0);
    }
}

#[test]
fn granted_origin_is_reached_and_no_other() {
    for guest in GUESTS {
        let (upstream, other) = (Upstream::start(), Upstream::start());
        let (port, closed) = (upstream.port(), other.port());
        let host = granted(guest, &format!("outgoing = [\"http://127.0.0.1:{port}\"]"));
        let host = host.serve().start();
        let here = format!("http://127.0.0.1:{port}");
        let answer = fetch(&host, &format!("{here}/a?b=c"));
        assert_eq!(answer, format!("200\nGET /a?b=c at 127.0.0.1:{port}\n"));
        for url in [
            format!("http://127.0.0.1:{closed}/"),
            format!("https://127.0.0.1:{port}/"),
            format!("http://127.0.0.2:{port}/"),
            format!("http://localhost:{port}/"),
            format!("http://[::1]:{port}/"),
            format!("http://[::ffff:127.0.0.1]:{port}/"),
            "http://127.0.0.1/".to_owned(),
        ] {
            let origin = url.trim_end_matches('/');
            let origin = if url.ends_with("0.1/") { "http://127.0.0.1:80" } else { origin };
            let why = format!("no grant for {origin}");
            let why = if url.contains("ffff") { "no grant for" } else { &why };
            assert_eq!(refused(&host, &url, why), DENIED, "{url}");
        }
        for spelling in ["127.1", "2130706433", "0x7f.0.0.1", "127.0.0.01", "user@127.0.0.1"] {
            let text = fetch(&host, &format!("http://{spelling}:{port}/"));
            assert_eq!(text, "error: http-request-uri-invalid\n", "{guest} {spelling}");
        }
        assert_eq!((upstream.requests(), other.requests()), (1, 0));
    }
}

#[test]
fn guest_cannot_open_a_tunnel_through_an_origin() {
    for guest in GUESTS {
        let upstream = Upstream::start();
        let port = upstream.port();
        let host = granted(guest, &format!("outgoing = [\"http://127.0.0.1:{port}\"]"));
        let host = host.serve().start();
        let url = format!("http://127.0.0.1:{port}/");
        let text = host.get(&format!("/fetch?method=CONNECT&url={url}")).text();
        assert_eq!(text, "error: http-request-method-invalid\n");
        assert_eq!(upstream.requests(), 0);
        let text = host.get(&format!("/fetch?method=POST&url={url}&data=body")).text();
        assert!(text.starts_with("200\nPOST / at "), "{text}");
    }
}

#[test]
fn name_that_resolves_to_loopback_needs_a_word_of_its_own() {
    for guest in GUESTS {
        let upstream = Upstream::start();
        let port = upstream.port();
        let grant = format!("outgoing = [\"http://localhost:{port}\"]");
        let url = format!("http://localhost:{port}/");
        let host = granted(guest, &grant).serve().start();
        assert_eq!(refused(&host, &url, "is granted, but resolves to"), PROHIBITED);
        drop(host);
        for other in ["private", "link-local"] {
            let grant = format!("{grant}\noutgoing-addresses = [\"{other}\"]");
            let host = granted(guest, &grant).serve().start();
            assert_eq!(refused(&host, &url, "is granted, but resolves to"), PROHIBITED);
        }
        assert_eq!(upstream.requests(), 0);
        let grant = format!("{grant}\noutgoing-addresses = [\"loopback\"]");
        let host = granted(guest, &grant).serve().start();
        assert_eq!(fetch(&host, &url), format!("200\nGET / at localhost:{port}\n"));
        let literal = format!("http://127.0.0.1:{port}/");
        assert_eq!(refused(&host, &literal, "no grant for"), DENIED, "the word is for names");
    }
}

#[test]
fn wildcard_stands_for_names_below_and_not_for_addresses() {
    for guest in GUESTS {
        let upstream = Upstream::start();
        let port = upstream.port();
        let grant =
            format!("outgoing = [\"*.localhost:{port}\"]\noutgoing-addresses = [\"loopback\"]");
        let host = granted(guest, &grant).serve().start();
        for denied in ["localhost", "127.0.0.1", "xlocalhost", "localhost.evil.test"] {
            let text = refused(&host, &format!("http://{denied}:{port}/"), "no grant for");
            assert_eq!(text, DENIED, "{denied}");
        }
        // Whether names below localhost resolve is the resolver's affair; that they may is ours.
        let text = fetch(&host, &format!("http://a.localhost:{port}/"));
        let reached = format!("200\nGET / at a.localhost:{port}\n");
        assert!(text == reached || text == "error: dns-error\n", "{text}");
    }
}

#[test]
fn redirect_is_given_to_the_guest_and_not_followed() {
    for guest in GUESTS {
        let (upstream, denied) = (Upstream::start(), Upstream::start());
        let port = upstream.port();
        let host = granted(guest, &format!("outgoing = [\"http://127.0.0.1:{port}\"]"));
        let host = host.serve().start();
        let to = format!("http://127.0.0.1:{}/", denied.port());
        let text = fetch(&host, &format!("http://127.0.0.1:{port}/redirect?{to}"));
        assert!(text.starts_with("302\n"), "{text}");
        assert_eq!(refused(&host, &to, "no grant for"), DENIED, "nor by the guest");
        assert_eq!((upstream.requests(), denied.requests()), (1, 0));
    }
}

/// All instances of one version share one pool, and the next version has one of its own.
#[test]
fn instances_of_one_generation_share_a_connection_and_the_next_one_has_another() {
    for (guest, next) in [GUESTS, ["grants_p3", "grants_p2"]].map(|[one, other]| (one, other)) {
        let upstream = Upstream::start();
        let port = upstream.port();
        let manifest = format!(
            "[component.app]\nsource = \"app.wasm\"\n[component.app.grants]\n\
             outgoing = [\"http://127.0.0.1:{port}\"]\n"
        );
        let site = Site::with(&manifest, &[("app.wasm", guest)]);
        let host = site.serve().start();
        let url = format!("http://127.0.0.1:{port}/keep");
        let answer = format!("200\nGET /keep at 127.0.0.1:{port}\n");
        assert_eq!((fetch(&host, &url), fetch(&host, &url)), (answer.clone(), answer.clone()));
        assert_eq!((upstream.requests(), upstream.connections()), (2, 1), "{guest}");
        site.put("app.wasm", next);
        let mark = host.mark();
        host.signal(Signal::HUP);
        host.wait_log_nth_after(mark, says::BY_HANGUP, 2);
        assert_eq!(fetch(&host, &url), answer);
        assert_eq!((upstream.requests(), upstream.connections()), (3, 2), "{next}");
    }
}

#[test]
fn response_without_an_end_ends_at_the_limit_and_the_log_says_so() {
    for guest in GUESTS {
        let upstream = Upstream::start();
        let port = upstream.port();
        let host = granted(
            guest,
            &format!(
                "outgoing = [\"http://127.0.0.1:{port}\"]\n\
                 [component.app.limits]\noutgoing-response-body = \"1MiB\""
            ),
        );
        let host = host.serve().start();
        let url = format!("http://127.0.0.1:{port}/endless");
        let why =
            "the body of the response is larger than 1048576 bytes (limits.outgoing-response-body)";
        assert_eq!(refused(&host, &url, why), "error: http-response-incomplete\n");
        // What is cut does not count any more, and the next one is served.
        let answer = format!("200\nGET / at 127.0.0.1:{port}\n");
        assert_eq!(fetch(&host, &format!("http://127.0.0.1:{port}/")), answer);
    }
}

/// Where the log says that health is answered.
#[track_caller]
fn health(host: &Host) -> SocketAddr {
    let line = host.wait_log("health=");
    let (_, rest) = line.split_once("health=").unwrap();
    rest.split(' ').next().unwrap().parse().expect("an address")
}

/// A port that is free at the moment.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn health_of_the_host_is_not_for_its_guests() {
    for guest in GUESTS {
        let port = free_port();
        let grants = format!(
            "outgoing = [\"http://127.0.0.1:{port}\", \"http://localhost:{port}\"]\n\
             outgoing-addresses = [\"loopback\"]\ntcp = [\"tcp://127.0.0.1:{port}\"]"
        );
        let site = granted(guest, &grants);
        let address = format!("127.0.0.1:{port}");
        let host = site.serve().args(["--health-addr", &address]).start();
        assert_eq!(health(&host).port(), port);
        assert_eq!(fetch(&host, &format!("http://127.0.0.1:{port}/livez")), PROHIBITED);
        assert_eq!(fetch(&host, &format!("http://localhost:{port}/livez")), PROHIBITED);
        let text = host.get(&format!("/?port={port}")).text();
        assert!(text.contains("tcp: access-denied\n") || text.contains("tcp: denied\n"), "{text}");
        host.wait_log("socket refused");
    }
}

/// The manifest cannot know the port that the kernel chooses, but a guest may come to know it: the
/// file is read again at a reload.
#[test]
fn health_on_a_port_of_the_kernels_choice_is_not_for_guests_either() {
    let site = granted("grants_p2", "");
    let host = site.serve().args(["--health-addr", "127.0.0.1:0"]).start();
    let port = health(&host).port();
    site.write(&format!(
        "[component.app]\nsource = \"guest:grants_p2\"\n[component.app.grants]\n\
         outgoing = [\"http://127.0.0.1:{port}\"]\ntcp = [\"tcp://127.0.0.1:{port}\"]\n"
    ));
    let mark = host.mark();
    host.signal(Signal::HUP);
    host.wait_log_nth_after(mark, says::BY_HANGUP, 2);
    assert_eq!(fetch(&host, &format!("http://127.0.0.1:{port}/livez")), PROHIBITED);
    let text = host.get(&format!("/tcp?addr=127.0.0.1:{port}")).text();
    assert_eq!(text, "error: access-denied\n");
}

#[test]
fn control_socket_of_the_host_is_out_of_reach() {
    let folder = |more| {
        let grant = format!("directories = [{{ host = \"sub\", guest = \"/\"{more} }}]");
        let site = granted("hostile_p2", &grant);
        site.put_text("sub/page", "");
        (site.file("sub/control.sock"), site)
    };
    let (path, site) = folder(", write = true");
    let exit = Host::run(["serve", site.text(), "--control", &path]);
    exit.expect_code(2);
    let said = "a guest that may write here could change the control socket";
    assert!(exit.stderr.contains(said) && exit.stderr.contains("host.toml:4:"), "{}", exit.stderr);
    let (path, site) = folder("");
    let path = &*path;
    let host = site.serve().args(["--control", path]).start();
    let told = host.get("/escape?path=control.sock").text();
    let line = told.lines().find(|line| line.starts_with("control.sock: ")).expect("it was tried");
    assert!(!line.contains("READ"), "{line}");
    Host::run(["ctl", "--socket", path, "status"]).expect_code(0);
}

#[test]
fn tcp_endpoint_is_connected_to_as_granted() {
    for guest in GUESTS {
        expect_tcp_as_granted(guest);
    }
}

fn expect_tcp_as_granted(guest: &str) {
    let (upstream, other) = (echo(), echo());
    let host = granted(guest, &format!("tcp = [\"tcp://127.0.0.1:{}\"]", upstream.port()));
    let host = host.serve().start();
    let text = host.get(&format!("/tcp?addr=127.0.0.1:{}", upstream.port())).text();
    assert_eq!(text, "ping");
    let text = host.get(&format!("/tcp?addr=127.0.0.1:{}", other.port())).text();
    assert_eq!(text, "error: access-denied\n");
    let line = host.wait_log("socket refused");
    let address = format!("address={other}");
    assert!(line.contains(&address) && line.contains("component=\"app\""), "{line}");
    let text = host.get(&format!("/tcp?addr=127.0.0.2:{}", upstream.port())).text();
    assert_eq!(text, "error: access-denied\n");
    let text = host.get(&format!("/fetch?url=http://127.0.0.1:{}/", upstream.port())).text();
    assert_eq!(text, DENIED, "a socket is no leave to send HTTP");
    let text = host.get("/").text();
    assert!(text.contains("udp: denied\n") || text.contains("udp: access-denied\n"), "{text}");
}

#[test]
fn tcp_endpoint_by_name_follows_the_name_and_the_word_for_loopback() {
    for guest in GUESTS {
        expect_tcp_by_name(guest);
    }
}

fn expect_tcp_by_name(guest: &str) {
    let upstream = echo();
    let port = upstream.port();
    let grant = format!("tcp = [\"tcp://localhost:{port}\"]\nname-lookup = true");
    let host = granted(guest, &grant).serve().start();
    let text = host.get(&format!("/tcp?addr=127.0.0.1:{port}")).text();
    assert_eq!(text, "error: access-denied\n");
    drop(host);
    let grant = format!("{grant}\noutgoing-addresses = [\"loopback\"]");
    let host = granted(guest, &grant).serve().start();
    assert_eq!(host.get(&format!("/tcp?addr=127.0.0.1:{port}")).text(), "ping");
    let text = host.get(&format!("/tcp?addr=127.0.0.2:{port}")).text();
    assert_eq!(text, "error: access-denied\n", "the name does not lead there");
}

#[test]
fn names_are_looked_up_only_where_that_is_granted() {
    for guest in GUESTS {
        let host = granted(guest, "name-lookup = true").serve().start();
        let text = host.get("/lookup?name=localhost").text();
        assert!(text.lines().any(|line| line == "127.0.0.1" || line == "::1"), "{text}");
        let text = host.get("/tcp?addr=127.0.0.1:1").text();
        assert!(text.starts_with("error: "), "a look-up is no leave to connect: {text}");
        let host = granted(guest, "tcp = [\"tcp://localhost:1\"]").serve().start();
        let text = host.get("/lookup?name=localhost").text();
        assert!(text.starts_with("error: "), "a leave to connect is no look-up: {text}");
        let line = host.wait_log("name look-up refused");
        assert!(line.contains("name=\"localhost\""), "{line}");
    }
}

/// wasmtime refuses these by itself, without a word.
#[test]
fn sockets_that_were_not_granted_are_refused_with_a_line_in_the_log() {
    for guest in GUESTS {
        let host = granted(guest, "").serve().start();
        let text = host.get("/tcp?addr=127.0.0.1:1").text();
        assert_eq!(text, "error: access-denied\n");
        let line = host.wait_log("socket refused: none is granted (grants.tcp)");
        assert!(line.contains("component=\"app\""), "{line}");
        host.get("/");
        host.wait_log("socket refused: nobody is granted udp");
    }
}

/// A server that says again what it is told, for one connection after the other.
fn echo() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // Ends with the process: it holds nothing but its socket.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = &stream;
            std::io::copy(&mut reader, &mut &stream).ok();
        }
    });
    addr
}
