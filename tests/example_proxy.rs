//! The reverse proxy of `guest/examples`, before a server of the test's own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, SockRef, Socket, Type};

use crate::support::chain::Chain;
use crate::support::prelude::*;
use crate::support::status::wait_all_instances_free;
use crate::support::wire;

/// A server that the test plays itself.
struct Upstream(TcpListener);

impl Upstream {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        // Bounds `accept` (socket(7)).
        let patience = SockRef::from(&listener).set_read_timeout(Some(PATIENCE));
        patience.expect("a listener takes it");
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("it is bound").port()
    }

    /// The next connection.
    #[track_caller]
    fn accept(&self) -> Conn {
        let (socket, _) = self.0.accept().expect("the host connects");
        Conn::over(Socket::from(socket))
    }
}

/// A port at which nothing listens, and nothing can until this is dropped.
struct Nobody(Socket);

impl Nobody {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a port is free");
        Self(socket)
    }

    fn port(&self) -> u16 {
        let addr = self.0.local_addr().expect("it is bound");
        addr.as_socket().expect("it is one of IP").port()
    }
}

/// The proxy before `upstream`, behind these plugins.
fn proxy(plugins: &[&str], port: u16) -> Chain {
    Chain::new(plugins, "proxy_p3")
        .say("app", &format!("config.upstream = \"http://127.0.0.1:{port}/base\""))
        .say("app", &format!("grants.outgoing = [\"http://127.0.0.1:{port}\"]"))
        .say("app", "grants.outgoing-addresses = [\"loopback\"]")
}

/// Reads the head of a request: its first line, and its fields with small names.
#[track_caller]
fn request(conn: &mut Conn) -> (String, Vec<(String, String)>) {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        text.push(char::from(conn.read_exact(1).expect("a whole head")[0]));
    }
    let mut lines = text.trim_end().split("\r\n").map(str::to_owned);
    let first = lines.next().expect("a line");
    let field = |line: String| {
        let (name, value) = line.split_once(": ").expect("a field");
        (name.to_ascii_lowercase(), value.to_owned())
    };
    (first, lines.map(field).collect())
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|field| field.0 == name).map(|field| field.1.as_str())
}

const PLUGINS: [&[&str]; 3] = [&[], &["pass_p2", "mark_p3"], &["mark_p3", "mark_p2"]];

#[test]
fn a_request_and_its_answer_go_through_in_pieces_as_they_come() {
    for plugins in PLUGINS {
        let upstream = Upstream::new();
        let host = proxy(plugins, upstream.port()).start();
        let mut client = host.connect();
        client.send(wire::chunked("/x?y=z")).unwrap();
        client.send(wire::chunk("one")).unwrap();
        let mut server = upstream.accept();
        let (first, fields) = request(&mut server);
        assert_eq!(first, "POST /base/x?y=z HTTP/1.1");
        let authority = format!("127.0.0.1:{}", upstream.port());
        assert_eq!(value(&fields, "host"), Some(authority.as_str()));
        assert_eq!(value(&fields, "x-forwarded-host"), Some("test"));
        assert_eq!(server.read_chunk().unwrap().as_deref(), Some(&b"one"[..]));
        server
            .send("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nX-Own: 1\r\n\r\n")
            .unwrap();
        server.send(wire::chunk("uno")).unwrap();
        let head = client.read_head().unwrap();
        assert_eq!((head.status, head.header("x-own")), (201, Some("1")), "{plugins:?}");
        assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"uno"[..]));
        client.send(wire::chunk("two")).unwrap();
        assert_eq!(server.read_chunk().unwrap().as_deref(), Some(&b"two"[..]));
        server.send(wire::chunk("due")).unwrap();
        assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"due"[..]));
        client.send(wire::LAST_CHUNK).unwrap();
        assert_eq!(server.read_chunk().unwrap(), None);
        server.send(wire::LAST_CHUNK).unwrap();
        assert_eq!(client.read_chunk().unwrap(), None);
    }
}

#[test]
fn what_is_said_of_one_connection_is_not_said_of_the_other() {
    let upstream = Upstream::new();
    let host = proxy(&["headers_p3"], upstream.port()).start();
    let mut client = host.connect();
    client
        .send(
            "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
             Proxy-Authorization: Basic eA==\r\nX-End: 1\r\n\r\n",
        )
        .unwrap();
    let mut server = upstream.accept();
    let (first, fields) = request(&mut server);
    assert_eq!(first, "GET /base/ HTTP/1.1");
    for name in ["keep-alive", "proxy-connection", "proxy-authorization", "x-hop", "upgrade"] {
        assert_eq!(value(&fields, name), None, "{name} in {fields:?}");
    }
    assert_eq!(value(&fields, "x-end"), Some("1"));
    assert_eq!(value(&fields, "x-forwarded-host"), Some("shop.example"));
    server
        .send(
            "HTTP/1.1 200 OK\r\nConnection: x-back\r\nX-Back: 1\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Authenticate: Basic\r\nX-End: 2\r\nServer: secret/1.0\r\n\
             X-Frame-Options: SAMEORIGIN\r\nContent-Length: 2\r\n\r\nhi",
        )
        .unwrap();
    let answer = client.read_response("GET").unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hi"));
    for name in ["keep-alive", "x-back", "proxy-authenticate", "server", "connection"] {
        assert_eq!(answer.header(name), None, "{name} in {answer}");
    }
    assert_eq!((answer.header("x-end"), answer.header("content-length")), (Some("2"), Some("2")));
    let frame: Vec<_> = answer.head.headers_named("x-frame-options").collect();
    assert_eq!(frame, ["SAMEORIGIN"], "what the application says is left");
}

#[test]
fn a_server_that_is_down_or_breaks_off_is_a_502_or_a_broken_answer() {
    let down = Nobody::new();
    let host = proxy(&[], down.port()).start();
    assert_eq!(host.get("/").status(), 502);

    for plugins in PLUGINS {
        let upstream = Upstream::new();
        let host = proxy(plugins, upstream.port()).start();
        let mut client = host.connect();
        client.send(wire::get("/")).unwrap();
        let mut server = upstream.accept();
        request(&mut server);
        server.send("HTTP/1.1 200 OK\r\n").unwrap();
        drop(server);
        assert_eq!(client.read_response("GET").unwrap().status(), 502);

        for head in
            ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
        {
            let mut client = host.connect();
            client.send(wire::get("/")).unwrap();
            let mut server = upstream.accept();
            request(&mut server);
            server.send(format!("HTTP/1.1 200 OK\r\n{head}")).unwrap();
            let head = client.read_head().unwrap();
            assert_eq!(head.status, 200);
            drop(server);
            wire::assert_broken(client.read_body(&head, "GET"));
        }
    }
}

#[test]
fn an_upstream_that_is_not_granted_is_a_502_and_a_line_in_the_log() {
    let upstream = Upstream::new();
    let chain = Chain::new(&[], "proxy_p3")
        .say("app", &format!("config.upstream = \"http://127.0.0.1:{}\"", upstream.port()));
    let host = chain.start();
    assert_eq!(host.get("/").status(), 502);
    let line = host.wait_log("is not granted");
    assert!(line.contains(&format!("http://127.0.0.1:{}", upstream.port())), "{line}");
}

/// A part of an upload may never look like the whole, whichever side ended it.
#[test]
fn an_upload_that_is_not_whole_never_ends_well_at_the_upstream() {
    for plugins in PLUGINS {
        for limit in ["", "limits.exchange-timeout = \"3s\""] {
            let upstream = Upstream::new();
            let host = proxy(plugins, upstream.port()).say("app", limit).start_with_control();
            for how in ["reset", "half-close", "limit"] {
                if (how == "limit") == limit.is_empty() {
                    continue;
                }
                let mut client = host.connect();
                client.send(wire::chunked("/")).unwrap();
                client.send(wire::chunk("half")).unwrap();
                let mut server = upstream.accept();
                request(&mut server);
                assert_eq!(server.read_chunk().unwrap().as_deref(), Some(&b"half"[..]));
                let kept = match how {
                    "reset" => {
                        client.reset();
                        None
                    }
                    "half-close" => {
                        client.half_close();
                        Some(client)
                    }
                    _ => Some(client),
                };
                let (rest, _) = server.expect_reset_or_eof();
                let rest = String::from_utf8_lossy(&rest).into_owned();
                assert_eq!(rest, "", "{how} {plugins:?}: the upload was ended as if it were whole");
                drop(kept);
                wait_all_instances_free(&host);
            }
        }
    }
}

/// What comes of an upstream's answer.
fn answered(host: &Host, upstream: &Upstream, answer: &str) -> (u16, String) {
    let mut client = host.connect();
    client.send(wire::get("/")).unwrap();
    let mut server = upstream.accept();
    request(&mut server);
    server.send(answer).unwrap();
    drop(server);
    let answer = client.read_response("GET").unwrap();
    (answer.status(), answer.text())
}

/// A status of 600 became 200; two equal lengths trapped the guest; what was under `gzip, chunked` came as
/// bytes that nobody said were gzip.
#[test]
fn an_odd_answer_is_handed_on_as_it_was_meant_or_is_a_502() {
    let upstream = Upstream::new();
    let host = proxy(&[], upstream.port()).start();
    for (answer, status, text) in [
        ("HTTP/1.1 299 Odd\r\nContent-Length: 5\r\n\r\nhello", 299, Some("hello")),
        ("HTTP/1.1 599 Odd\r\nContent-Length: 5\r\n\r\nhello", 599, Some("hello")),
        ("HTTP/1.1 600 Odd\r\nContent-Length: 5\r\n\r\nhello", 502, None),
        ("HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n\r\nhello", 502, None),
        ("HTTP/1.1 099 Odd\r\nContent-Length: 5\r\n\r\nhello", 502, None),
        ("HTTP/1.1 000 Odd\r\nContent-Length: 5\r\n\r\nhello", 502, None),
        ("HTTP/1.1 20 Odd\r\nContent-Length: 5\r\n\r\nhello", 502, None),
        ("HTTP/1.1 101 Odd\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502, None),
        ("HTTP/1.1 204 Done\r\nContent-Length: 5\r\n\r\n", 204, Some("")),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            200,
            Some("hello"),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", 200, Some("hello")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 502, None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 502, None),
        (
            "HTTP/1.1 200 OK\r\nX-A: one\r\n two\r\nContent-Length : 5\r\n\r\nhello",
            200,
            Some("hello"),
        ),
    ] {
        let (got, body) = answered(&host, &upstream, answer);
        assert_eq!(got, status, "{answer}");
        if let Some(text) = text {
            assert_eq!(body, text, "{answer}");
        }
    }
}
