//! Two versions of a guest, and answers of theirs that are held while one replaces the other.

use super::host::Host;
use super::http1::Head;
use super::raw::Conn;
use super::wire::{self, assert_broken};

/// Versions a and b, within one kind of guest and from one to the other.
pub const PAIRS: [[&str; 2]; 4] = [
    ["version_a_p2", "version_b_p2"],
    ["version_a_p3", "version_b_p3"],
    ["version_a_p2", "version_b_p3"],
    ["version_a_p3", "version_b_p2"],
];

/// An answer of a version guest, held within its body: its first piece has come.
#[derive(Debug)]
pub struct Gate {
    conn: Conn,
    head: Head,
    /// The version that answers.
    pub version: String,
}

impl Gate {
    /// The answer to a request on a connection of its own.
    #[track_caller]
    pub fn on(host: &Host) -> Self {
        let mut conn = host.connect();
        conn.send(wire::chunked("/gate?bytes=250")).expect("the host reads");
        let head = conn.read_head().expect("a head before the gate opens");
        let version = head.header("x-version").expect("it names its version").to_owned();
        let first = conn.read_chunk().expect("the first piece").expect("not the last chunk");
        assert_eq!(first, version.repeat(100).into_bytes());
        Self { conn, head, version }
    }

    /// Lets it end, expects all the rest of its own version and gives the connection back.
    #[track_caller]
    pub fn open(mut self) -> Conn {
        self.conn.send(wire::LAST_CHUNK).expect("the host reads");
        let rest = self.conn.read_body(&self.head, "POST").expect("the whole answer");
        assert_eq!(rest.text(), self.version.repeat(150));
        self.conn
    }

    /// Expects that it was broken off.
    #[track_caller]
    pub fn expect_broken(mut self) {
        assert_broken(self.conn.read_body(&self.head, "POST"));
    }
}
