//! Builds the plugin, serves it before an application with `host` as `host.toml` says, and asks it.
mod support;

use std::io::{Read, Write};

use support::{Host, read_until};

#[test]
fn plugin_refuses_a_request_without_a_tenant() {
    let host = Host::serve();
    let refused = host.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(!refused.contains("hello from the app"), "{refused}");
    host.stop();
}

#[test]
fn plugin_passes_bodies_on_while_they_come() {
    let host = Host::serve();
    let mut socket = host.connect();
    let head = "POST / HTTP/1.1\r\nhost: test\r\nx-tenant: one\r\nconnection: close\r\n\
                transfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(b"5\r\nfirst\r\n").unwrap();
    let answer = read_until(&mut socket, "first");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("x-plugin: {{name}}\r\n"), "{answer}");
    assert!(answer.contains("hello from the app\n"), "{answer}");
    // The application has answered the first part before this one is sent.
    socket.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
    let mut rest = String::new();
    socket.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("second"), "{rest}");
    host.stop();
}
