//! Who is at the other end of a connection.

use std::net::SocketAddr;

/// Who is at the other end of a connection, as far as it is known before its first request.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its address; none on a Unix socket.
    pub address: Option<SocketAddr>,
}
