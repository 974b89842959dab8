//! What a header says, and how far it has been read.

use std::net::SocketAddr;

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Who the client is.
    pub source: ProxySource,
    /// Whether the client has come to the proxy by TLS.
    pub is_secure: bool,
}

/// Who the client is, by the word of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxySource {
    /// The proxy itself, which looks whether the host is well (`LOCAL`), or does not know (`UNKNOWN`).
    Proxy,
    /// One with this address.
    Address(SocketAddr),
    /// One on a Unix socket of the proxy.
    Unix,
}

/// How far a header has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyHeaderStep {
    /// At least so many of the bytes that follow are part of it.
    Needs(usize),
    /// The bytes that follow are part of it up to the next LF, and no more than so many.
    Line(usize),
    /// That was all of it.
    Done(ProxyHeader),
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeaderFault {
    /// Something else begins here.
    Missing,
    /// It cannot be read; the text says why.
    Malformed(&'static str),
}
