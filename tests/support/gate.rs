//! Two versions of a guest, and responses that are held while one version replaces the other.

use super::host::Host;
use super::http1::Head;
use super::raw::Conn;
use super::wire::{self, assert_broken};

/// Versions a and b, of one kind of guest and of two kinds.
pub const PAIRS: [[&str; 2]; 4] = [
    ["version_a_p2", "version_b_p2"],
    ["version_a_p3", "version_b_p3"],
    ["version_a_p2", "version_b_p3"],
    ["version_a_p3", "version_b_p2"],
];

/// A response of a version guest, held within its body: the first piece has come.
#[derive(Debug)]
pub struct Gate {
    conn: Conn,
    head: Head,
    /// The version that responds.
    pub version: String,
}

impl Gate {
    /// The response to a request on a connection of its own.
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

    /// Lets the response end, expects the rest in its own version, and returns the connection.
    #[track_caller]
    pub fn open(mut self) -> Conn {
        self.conn.send(wire::LAST_CHUNK).expect("the host reads");
        let rest = self.conn.read_body(&self.head, "POST").expect("the whole answer");
        assert_eq!(rest.text(), self.version.repeat(150));
        self.conn
    }

    /// Expects that the response breaks off.
    #[track_caller]
    pub fn expect_broken(mut self) {
        assert_broken(self.conn.read_body(&self.head, "POST"));
    }
}
