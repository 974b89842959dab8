//! Requests as bytes, and checks of responses that all tests need.

use std::fmt::Debug;
use std::thread;

use super::broken::Broken;
use super::raw::Conn;

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &str = "0\r\n\r\n";

/// A `GET`.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// The head of a `POST` whose body comes in chunks.
pub fn chunked(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
}

/// The head of a `POST` whose body has `length` bytes.
pub fn sized(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n")
}

/// One chunk with its framing.
pub fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Fails unless the message was broken off: by a close before its end, or by a reset.
#[track_caller]
pub fn assert_broken<T: Debug>(message: Result<T, Broken>) {
    match message {
        Err(Broken::Fin(_) | Broken::Reset) => {}
        other => panic!("a broken message was due, not {other:?}"),
    }
}

/// Sends all of `bytes` from a thread of its own, to a peer that responds meanwhile. Ignores bytes that the peer
/// refuses, because its response shows that.
pub fn send_beside(conn: &Conn, bytes: Vec<u8>) -> thread::JoinHandle<()> {
    let mut writer = conn.writer();
    thread::spawn(move || drop(std::io::Write::write_all(&mut writer, &bytes)))
}
