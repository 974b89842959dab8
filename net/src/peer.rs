//! Who is at the other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use host_forwarded::{ProxyHeader, ProxySource};
use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};

/// Who is at the other end of a connection, as far as it is known before its first request.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its address, as the socket says, or a header of the PROXY protocol; none on a Unix socket.
    pub address: Option<SocketAddr>,
    /// The other end of the socket, where such a header has named somebody else. None on a Unix socket, too.
    pub proxy: Option<SocketAddr>,
    /// Whether it has come to that proxy by TLS.
    pub is_secured_by_proxy: bool,
    /// What its TLS handshake said; none over a plain connection.
    pub tls: Option<Arc<TlsPeer>>,
}

impl Peer {
    /// One of which only the address is known.
    pub(super) fn at(address: Option<SocketAddr>) -> Self {
        Self { address, ..Self::default() }
    }

    /// Takes note of what a proxy says of it.
    pub(super) fn introduce(&mut self, header: &ProxyHeader) {
        let address = match header.source {
            ProxySource::Proxy => return,
            ProxySource::Address(address) => Some(address),
            ProxySource::Unix => None,
        };
        self.proxy = std::mem::replace(&mut self.address, address);
        self.is_secured_by_proxy = header.is_secure;
    }
}

/// What a TLS handshake said of the peer.
#[derive(Clone, Debug, Default)]
pub struct TlsPeer {
    /// The version of the protocol: `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// IANA's name of the cipher suite, `TLS13_AES_128_GCM_SHA256` for example.
    pub cipher_suite: &'static str,
    /// What both sides have agreed to speak (ALPN, RFC 7301): `h2`, `http/1.1`. Where the peer did not ask, the only one
    /// that the listener speaks; none where there are several.
    pub alpn: Option<String>,
    /// The name of the server that the peer asked for (SNI, RFC 6066 §3).
    pub server_name: Option<String>,
    /// Whether it went on with a session of before.
    pub resumed: bool,
    /// The peer's certificate and what it sent to certify it, in this order; empty where it sent none.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl TlsPeer {
    /// What `tls` says, whose handshake is done at a listener that speaks what is `offered`.
    pub(super) fn of(tls: &ServerConnection, offered: &[Vec<u8>]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let only = || match offered {
            [only] => Some(&**only),
            _ => None,
        };
        Self {
            version: match tls.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher_suite: tls
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default(),
            alpn: tls.alpn_protocol().or_else(only).map(text),
            server_name: tls.server_name().map(str::to_owned),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            certificates: tls.peer_certificates().unwrap_or_default().to_vec(),
        }
    }
}
