//! What a guest has written of a request is on the wire, or the guest is told: each method with each kind of
//! body, with a length of the guest's and without, of both versions of `wasi:http`.
//!
//! The body of a GET or HEAD that said no length was dropped, and its guest was told of a success; POST, PUT
//! and PATCH without a body had no `content-length: 0`. The same table byte by byte, and over HTTP/2:
//! `outgoing/src/tests/framing.rs`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::support::prelude::*;
use crate::support::site::Site;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY"];

/// What a guest does, and what it has written by then.
const BODIES: [(&str, &str); 5] =
    [("none", ""), ("empty", ""), ("later", ""), ("short", "hello"), ("streamed", "hello, world")];

/// A request as a server has it.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    length: Option<usize>,
    chunked: bool,
    body: String,
    /// Its end has come, as far as anybody can tell.
    whole: bool,
}

/// A server that tells what it sees, and answers what is whole with 204.
struct Recorder {
    port: u16,
    sees: Receiver<Seen>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (saw, sees) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let saw = saw.clone();
                thread::spawn(move || record(stream, &saw));
            }
        });
        Self { port, sees }
    }

    fn next(&self) -> Seen {
        self.sees.recv_timeout(PATIENCE).expect("a request")
    }
}

/// Ends with the connection, or with the test.
fn record(mut stream: TcpStream, saw: &Sender<Seen>) {
    while let Some(head) = until(&mut stream, |text| text.ends_with("\r\n\r\n")) {
        let mut seen = Seen::default();
        for line in head.lines().map(str::to_ascii_lowercase) {
            let length = line.strip_prefix("content-length: ");
            seen.length = length.map(|it| it.parse().expect("a number")).or(seen.length);
            seen.chunked |= line == "transfer-encoding: chunked";
        }
        seen.whole = match (seen.length, seen.chunked) {
            (Some(length), _) => {
                let mut body = vec![0; length];
                let whole = stream.read_exact(&mut body).is_ok();
                seen.body = String::from_utf8_lossy(&body).into_owned();
                whole
            }
            (None, true) => unchunked(&mut stream, &mut seen.body).is_some(),
            (None, false) => true,
        };
        let whole = seen.whole;
        if saw.send(seen).is_err() || !whole {
            return;
        }
        if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
            return;
        }
    }
}

fn until(stream: &mut TcpStream, is_end: impl Fn(&str) -> bool) -> Option<String> {
    let mut text = String::new();
    while !is_end(&text) {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        text.push(char::from(byte[0]));
    }
    Some(text)
}

fn unchunked(stream: &mut TcpStream, body: &mut String) -> Option<()> {
    loop {
        let size = until(stream, |text| text.ends_with("\r\n"))?;
        let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
        let mut data = vec![0; size + 2];
        stream.read_exact(&mut data).ok()?;
        if size == 0 {
            return Some(());
        }
        body.push_str(&String::from_utf8_lossy(&data[..size]));
    }
}

const GUESTS: [&str; 2] = ["grants_p2", "grants_p3"];

fn host_of(guest: &str, port: u16) -> Host {
    let manifest = format!(
        "[component.app]\nsource = \"guest:{guest}\"\n[component.app.grants]\n\
         outgoing = [\"http://127.0.0.1:{port}\"]\n"
    );
    Site::new(&manifest).serve().start()
}

/// What the guest says that came of it.
fn upload(host: &Host, port: u16, method: &str, body: &str, length: Option<usize>) -> String {
    let length = length.map(|length| format!("&length={length}")).unwrap_or_default();
    let url = format!("http://127.0.0.1:{port}/");
    let answer = host.get(&format!("/upload?url={url}&method={method}&body={body}{length}"));
    assert_eq!(answer.status(), 200, "{answer}");
    answer.text()
}

#[test]
fn what_a_guest_writes_is_what_a_server_has() {
    for guest in GUESTS {
        let server = Recorder::start();
        let host = host_of(guest, server.port);
        for method in METHODS {
            let wants_content = ["POST", "PUT", "PATCH"].contains(&method);
            for (body, text) in BODIES {
                for length in [None, Some(text.len())] {
                    let case = format!("{guest} {method} {body} {length:?}");
                    let told = upload(&host, server.port, method, body, length);
                    assert_eq!(told, "204\n", "{case}");
                    let seen = server.next();
                    assert_eq!((&*seen.body, seen.whole), (text, true), "{case}: {seen:?}");
                    // The host knows of a guest that has ended its body before it sends, or has none.
                    let known = body == "none" || guest == "grants_p2" && body == "empty";
                    let zero = (wants_content && text.is_empty()).then_some(0);
                    if known || length.is_some() {
                        let framing = (seen.length, seen.chunked);
                        assert_eq!(framing, (length.or(zero), false), "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn guest_that_writes_less_or_more_than_it_says_is_told() {
    for guest in GUESTS {
        let server = Recorder::start();
        let host = host_of(guest, server.port);
        for method in ["GET", "HEAD", "POST"] {
            for (body, text) in BODIES {
                // A byte less, and a byte more.
                for length in [text.len() + 1, text.len().wrapping_sub(1)] {
                    if length > text.len() + 1 {
                        continue;
                    }
                    let case = format!("{guest} {method} {body} {length}");
                    let told = upload(&host, server.port, method, body, Some(length));
                    assert_eq!(told, "error: http-request-body-size\n", "{case}");
                    while let Ok(seen) = server.sees.try_recv() {
                        assert!(!seen.whole, "{case}: {seen:?}");
                    }
                }
            }
        }
    }
}
