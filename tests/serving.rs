//! Requests are served: over every protocol and listener, each by an instance of its own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::h2raw::fields;
use crate::support::prelude::*;
use crate::support::wire;

/// A directory of this test's own, empty or absent now and gone in the end.
struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::remove_dir_all(&path).ok();
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn one_port_speaks_http_1_0_and_1_1_and_2() {
    for guest in ["hello_p2", "hello_p3"] {
        let host = Host::serve(guest).start();
        let mut old = host.connect();
        old.send("GET / HTTP/1.0\r\n\r\n").unwrap();
        let answer = old.read_response("GET").unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello world\n"));
        old.expect_fin();
        assert_eq!(host.get("/").text(), "hello world\n");
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/");
        let answer = h2.expect_answer(1);
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello world\n"[..]));
    }
}

#[test]
fn error_that_a_guest_answers_with_is_passed_on_as_it_is() {
    for guest in ["broken_smoke_p2", "broken_smoke_p3"] {
        let answer = Host::serve(guest).start().get("/");
        assert_eq!((answer.status(), answer.text().as_str()), (500, "broken\n"), "{guest}");
    }
}

#[test]
fn old_connection_is_kept_when_the_client_asks_for_it() {
    let host = Host::serve("hello_p2").start();
    let mut conn = host.connect();
    for _ in 0..2 {
        conn.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap();
        let answer = conn.read_response("GET").unwrap();
        assert_eq!(answer.header("connection"), Some("keep-alive"), "{answer}");
    }
}

#[test]
fn every_listener_is_named_in_one_ready_line_and_serves() {
    let host =
        Host::serve("hello_p2").unix().args(["--addr", "127.0.0.1:0", "--addr", "[::1]:0"]).start();
    assert_eq!(host.addrs().len(), 4, "{}", host.stdout());
    for target in host.addrs() {
        let mut conn = Conn::connect(target).unwrap();
        assert_eq!(conn.get("/").unwrap().text(), "hello world\n", "{target}");
        let mut h2 = H2::connect(target);
        h2.get(1, "/");
        assert_eq!(h2.expect_status(1), 200, "{target}");
    }
    let v6 = |target: &&Target| matches!(target, Target::Tcp(addr) if addr.is_ipv6());
    assert_eq!(host.addrs().iter().filter(v6).count(), 1);
    assert!(host.addrs().contains(&Target::from(host.unix_path())));
    assert_eq!(host.stdout().lines().count(), 1, "the ready line and nothing else");
}

#[test]
fn connection_is_used_again_and_again() {
    for guest in ["hello_p2", "hello_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        for _ in 0..200 {
            assert_eq!(conn.get("/").unwrap().text(), "hello world\n");
        }
        assert!(conn.is_quiet());
    }
}

#[test]
fn guest_sees_scheme_authority_path_and_fields() {
    for guest in ["info_p2", "info_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send(
            "PUT /a%20b/?q=1&r HTTP/1.1\r\nHost: a.example:8080\r\nX-One: 1\r\nX-One: 2\r\n\
             Accept: */*\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\
             Upgrade: websocket\r\nProxy-Connection: close\r\nContent-Length: 0\r\n\r\n",
        )
        .unwrap();
        let text = conn.read_response("PUT").unwrap().text();
        for line in [
            "method: PUT",
            "scheme: http",
            "authority: a.example:8080",
            "path: /a%20b/?q=1&r",
            "header.x-one: 1",
            "header.x-one: 2",
            "header.accept: */*",
        ] {
            assert!(text.lines().any(|l| l == line), "{guest}: no {line:?} in:\n{text}");
        }
        for name in ["host", "connection", "keep-alive", "upgrade", "proxy-connection"] {
            assert!(!text.contains(&format!("header.{name}:")), "{guest}: {name} in:\n{text}");
        }
    }
}

#[test]
fn guest_of_an_absolute_request_sees_its_authority_and_path() {
    for guest in ["info_p2", "info_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send("GET http://a.example/x?y HTTP/1.1\r\nHost: A.example\r\n\r\n").unwrap();
        let text = conn.read_response("GET").unwrap().text();
        assert!(text.to_lowercase().contains("authority: a.example\npath: /x?y\n"), "{text}");
    }
}

#[test]
fn guest_of_an_h2_request_sees_scheme_authority_path_and_fields() {
    for guest in ["info_p2", "info_p3"] {
        let host = Host::serve(guest).start();
        let mut h2 = H2::connect(host.addr());
        let mut fields = fields("DELETE", "/x?y=1");
        fields.push(("x-one", "1"));
        h2.send_fields(1, &fields, true);
        let text = String::from_utf8(h2.expect_answer(1).body).unwrap();
        let head = "method: DELETE\nscheme: http\nauthority: test\npath: /x?y=1\nheader.x-one: 1\n\
            header.forwarded: for=127.0.0.1;host=test;proto=http\nheader.x-forwarded-for: 127.0.0.1\n\
            header.x-forwarded-host: test\nheader.x-forwarded-proto: http\n";
        assert_eq!(without_trace(&text), head, "{guest}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for guest in ["info_p2", "info_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send(wire::get("/1") + &wire::get("/2") + &wire::get("/3")).unwrap();
        for path in ["/1", "/2", "/3"] {
            let text = conn.read_response("GET").unwrap().text();
            assert!(text.contains(&format!("path: {path}\n")), "{path}: {text}");
        }
        assert!(conn.is_quiet());
    }
}

#[test]
fn requests_pipelined_behind_bodies_are_answered_in_order() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        let mut bytes = wire::sized("/count", 5).into_bytes();
        bytes.extend(b"GET /");
        bytes.extend(wire::chunked("/count").into_bytes());
        bytes.extend(wire::chunk("GET / HTTP/1.1\r\n"));
        bytes.extend(wire::LAST_CHUNK.as_bytes());
        bytes.extend(wire::get("/").into_bytes());
        conn.send(bytes).unwrap();
        for text in ["5 bytes\n", "16 bytes\n", "ignored\n"] {
            assert_eq!(conn.read_response("POST").unwrap().text(), text);
        }
    }
}

#[test]
fn request_cut_into_single_bytes_is_served() {
    let host = Host::serve("reader_p2").start();
    let mut conn = host.connect();
    let bytes = [wire::chunked("/count").as_bytes(), &wire::chunk("abc"), b"0\r\n\r\n"].concat();
    for byte in bytes {
        conn.send([byte]).unwrap();
    }
    assert_eq!(conn.read_response("POST").unwrap().text(), "3 bytes\n");
}

#[test]
fn client_that_half_closes_after_its_request_is_answered() {
    for guest in ["sleep_p2", "sleep_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send(wire::get("/?ms=200")).unwrap();
        conn.half_close();
        assert_eq!(conn.read_response("GET").unwrap().text(), "slept\n");
        conn.expect_fin();
    }
}

#[test]
fn client_that_half_closes_after_its_upload_is_answered() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send(wire::sized("/count", 4) + "body" + &wire::get("/")).unwrap();
        conn.half_close();
        assert_eq!(conn.read_response("POST").unwrap().text(), "4 bytes\n");
        assert_eq!(conn.read_response("GET").unwrap().text(), "ignored\n");
        conn.expect_fin();
    }
}

#[test]
fn component_in_text_form_is_served() {
    for name in ["hello_p2", "hello_p3"] {
        let mut text = "(component binary \"".to_owned();
        for byte in fs::read(guest(name)).unwrap() {
            write!(text, "\\{byte:02x}").unwrap();
        }
        let dir = TempDir::new(&format!("wat-{name}"));
        fs::create_dir_all(&dir.0).unwrap();
        let path = dir.0.join("hello.wat");
        fs::write(&path, text + "\") ;; the text form of a component\n").unwrap();
        let host = Host::serve(path.to_str().unwrap()).start();
        assert_eq!(host.get("/").text(), "hello world\n");
    }
}

/// The pool is made before the code is loaded, from what the component's file says.
#[test]
fn component_that_instantiates_a_module_twice_or_not_at_all_gets_a_pool_that_fits() {
    let app = include_str!("../guest/wat/table.wat");
    let memories = "(core module $more (memory 1) (table 1 funcref))";
    let twice = "(core instance (instantiate $more)) (core instance (instantiate $more))";
    for (name, more) in [("twice", format!("{memories} {twice}")), ("never", memories.to_owned())] {
        let text = app.replace("(core instance $core", &format!("{more} (core instance $core"));
        let dir = TempDir::new(&format!("modules-{name}"));
        fs::create_dir_all(&dir.0).unwrap();
        let path = dir.0.join("app.wat");
        fs::write(&path, text).unwrap();
        let host = Host::serve(path.to_str().unwrap()).start();
        host.wait_log("component needs another pool than it seemed");
        assert_eq!(host.get("/").status(), 500, "{name}: this guest traps");
    }
}

#[test]
fn thousand_requests_are_served_at_once() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).args(["--max-instances", "1000", "--max-queue", "0"]).start();
        let mut connections: Vec<H2> = (0..10).map(|_| H2::connect(host.addr())).collect();
        let streams: Vec<u32> = (0..100).map(|i| 2 * i + 1).collect();
        for h2 in &mut connections {
            for stream in &streams {
                h2.send_headers(*stream, "POST", "/head", false);
            }
        }
        // All thousand are in their guests, and none has been answered.
        host.wait_log_nth(says::GATE_STARTED, 1000);
        for h2 in &mut connections {
            for stream in &streams {
                h2.send_data(*stream, b"", true);
            }
            for stream in &streams {
                assert_eq!(h2.expect_answer(*stream).status, 200);
            }
        }
    }
}

#[test]
fn thousand_sleepers_are_all_answered() {
    for guest in ["sleep_p2", "sleep_p3"] {
        let host = Host::serve(guest).start();
        let mut connections: Vec<Conn> = (0..1000).map(|_| host.connect()).collect();
        for conn in &mut connections {
            conn.send(wire::get("/?ms=500")).unwrap();
        }
        for conn in &mut connections {
            assert_eq!(conn.read_response("GET").unwrap().status(), 200);
        }
    }
}

#[test]
fn instance_is_fresh_for_every_request() {
    const FRESH: &str = "dirty: 0\ncount: 1\nfound: 0\n";
    for guest in ["leak_p2", "leak_p3"] {
        let args = ["--max-instances", "4", "--queue-timeout", "60s"];
        let host = Host::serve(guest).args(args).start();
        let mut conn = host.connect();
        for _ in 0..50 {
            assert_eq!(conn.get("/?secret=one").unwrap().text(), FRESH);
        }
        let mut h2 = H2::connect(host.addr());
        for i in 0..50 {
            h2.get(2 * i + 1, "/?secret=two");
        }
        for i in 0..50 {
            assert_eq!(String::from_utf8(h2.expect_answer(2 * i + 1).body).unwrap(), FRESH);
        }
    }
}
