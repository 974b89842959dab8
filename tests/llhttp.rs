//! llhttp, the parser of Node.js, brings requests to test parsers with, and how many of each its strict
//! mode takes. The host takes as many, but for what [`DEVIATIONS`] lists: docs/http.md has the reasons.

use crate::support::broken::Broken;
use crate::support::prelude::*;

const VECTORS: &str = include_str!("llhttp/requests.txt");

/// Why the host takes another number of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// A method that llhttp does not know is for the guest.
    Method,
    /// A target that names nothing here: that of CONNECT, `*`, one with a user, a fragment or a quote.
    Target,
    /// Another protocol than HTTP/1.0 or HTTP/1.1.
    Protocol,
    /// A transfer coding before `chunked`.
    Coding,
}

/// Vectors by their names, how many requests of each the host takes, and why. One more reason has no
/// place here: the host asks for a `Host` (see [`with_host`]).
const DEVIATIONS: &[(&str, usize, Why)] = &[
    ("invalid: HTTP protocol and ANNOUNCE method", 1, Why::Method),
    ("invalid: Invalid method", 1, Why::Method),
    ("method: CONNECT request", 0, Why::Target),
    ("method: CONNECT request with CAPS", 0, Why::Target),
    ("method: CONNECT with body", 0, Why::Target),
    ("method: M-SEARCH request", 0, Why::Target),
    ("uri: Quotes in URI", 0, Why::Target),
    ("uri: Fragment in URI", 0, Why::Target),
    ("uri: Underscore in hostname", 0, Why::Target),
    ("uri: `host:port` and basic auth", 0, Why::Target),
    ("sample: No HTTP version", 0, Why::Protocol),
    ("method: SOURCE request with ICE", 0, Why::Protocol),
    ("method: OPTIONS request with RTSP", 0, Why::Protocol),
    ("method: ANNOUNCE request with RTSP", 0, Why::Protocol),
    ("transfer-encoding: POST with `chunked` as last transfer-encoding", 0, Why::Coding),
    (
        "transfer-encoding: POST with `chunked` as last transfer-encoding (multiple headers)",
        0,
        Why::Coding,
    ),
];

struct Vector {
    name: &'static str,
    taken: usize,
    bytes: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.splitn(3, " | ");
            let mut part = || parts.next().expect("three parts a line");
            Vector { name: part(), taken: part().parse().unwrap(), bytes: unescaped(part()) }
        })
        .collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let (mut bytes, mut chars) = (Vec::new(), text.chars());
    while let Some(char) = chars.next() {
        bytes.push(match char {
            '\\' => match chars.next().expect("something escaped") {
                'r' => b'\r',
                'n' => b'\n',
                't' => b'\t',
                '\\' => b'\\',
                'x' => {
                    let digits: String = chars.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).unwrap()
                }
                other => panic!("unknown escape {other:?}"),
            },
            plain => u8::try_from(plain).unwrap(),
        });
    }
    bytes
}

/// The same requests with a `Host`, if they are of HTTP/1.1 and have none.
fn with_host(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let (line, version) = (text.lines().next().unwrap_or_default(), " HTTP/1.1\r\n");
    if text.to_ascii_lowercase().contains("\nhost:") {
        return bytes.to_vec();
    }
    let target = line.split_once("://").map_or("a", |(_, rest)| rest);
    let host = target.split(['/', '?', ' ']).next().unwrap_or_default();
    text.replace(version, &format!("{version}Host: {host}\r\n")).into_bytes()
}

/// How many requests of `bytes` reach a guest whole: it sends back their bodies.
fn taken(host: &Host, bytes: &[u8]) -> usize {
    let mut conn = host.connect();
    conn.send(bytes).unwrap();
    conn.half_close();
    let method = if bytes.starts_with(b"HEAD") { "HEAD" } else { "GET" };
    let mut taken = 0;
    loop {
        match conn.read_response(method) {
            Ok(answer) if answer.status() == 200 => taken += 1,
            Ok(_) | Err(Broken::Fin(_) | Broken::Reset) => return taken,
            Err(e) => panic!("neither an answer nor an end: {e}"),
        }
    }
}

#[test]
fn strict_vectors_of_llhttp_are_taken_as_llhttp_does_but_for_those_in_the_list() {
    let host = Host::serve("echo_p2").start();
    let mut wrong = Vec::new();
    let vectors = vectors();
    for Vector { name, taken: theirs, bytes } in &vectors {
        let deviation = DEVIATIONS.iter().find(|(deviant, ..)| deviant == name);
        let due = deviation.map_or(*theirs, |(_, ours, _)| *ours);
        let ours = taken(&host, &with_host(bytes));
        if ours != due {
            wrong.push(format!("{name}: {due} due, {ours} taken"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(vectors.len(), 123);
    for (name, ours, _) in DEVIATIONS {
        let of_name = vectors.iter().find(|vector| vector.name == *name);
        assert_ne!(of_name.map(|vector| vector.taken), Some(*ours), "{name} is none");
        assert!(of_name.is_some(), "no vector has the name {name}");
    }
}
