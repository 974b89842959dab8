//! TLS for tests: a certificate, both configurations, and a client whose records are seen as bytes.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, LazyLock, Mutex};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TlsConfigs;

/// The name of the certificate.
pub(crate) const NAME: &str = "localhost";

struct Certificate {
    key: CertifiedKey<rcgen::KeyPair>,
    sender: watch::Sender<Arc<ServerConfig>>,
}

static CERTIFICATE: LazyLock<Certificate> = LazyLock::new(|| {
    let key = generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    let sender = watch::Sender::new(Arc::new(server_config(&key)));
    Certificate { key, sender }
});

fn server_config(
    CertifiedKey { cert, signing_key }: &CertifiedKey<rcgen::KeyPair>,
) -> ServerConfig {
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a pair");
    config.ticketer = rustls::crypto::ring::Ticketer::new().expect("a ticketer");
    config.alpn_protocols = ["h2", "http/1.1"].map(|name| name.as_bytes().to_vec()).to_vec();
    config
}

/// What the handshakes of the tests' listeners are made with.
pub(crate) fn configs() -> TlsConfigs {
    CERTIFICATE.sender.subscribe()
}

/// A client that trusts the certificate, speaks these versions, and offers these protocols.
pub(crate) fn client_config(
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CERTIFICATE.key.cert.der().clone()).expect("a root");
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// Both versions, one at a time.
pub(crate) const VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&TLS13], &[&TLS12]];

/// Shakes hands over `stream`.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: ClientConfig,
) -> TlsStream<S> {
    let name = ServerName::try_from(NAME).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}

/// The client's end of a session, with its records as bytes. Clones are the same session.
#[derive(Clone)]
pub(crate) struct Records(Arc<Mutex<ClientConnection>>);

impl Records {
    /// A session that has not begun.
    pub(crate) fn new(config: ClientConfig) -> Self {
        let name = ServerName::try_from(NAME).expect("a name");
        Self::of(ClientConnection::new(Arc::new(config), name).expect("a client"))
    }

    pub(crate) fn of(mut tls: ClientConnection) -> Self {
        tls.set_buffer_limit(None);
        Self(Arc::new(Mutex::new(tls)))
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut ClientConnection) -> T) -> T {
        use_it(&mut self.0.lock().expect("it panics never"))
    }

    /// All that the session wants to send.
    pub(crate) fn outgoing(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.with(|tls| {
            while tls.wants_write() {
                tls.write_tls(&mut bytes).expect("a vector takes all");
            }
        });
        bytes
    }

    /// One record, or more where it is long.
    pub(crate) fn seal(&self, plaintext: &[u8]) -> Vec<u8> {
        self.with(|tls| tls.writer().write_all(plaintext)).expect("room");
        self.outgoing()
    }

    /// The record that says that nothing more comes.
    pub(crate) fn close_notify(&self) -> Vec<u8> {
        self.with(|tls| tls.send_close_notify());
        self.outgoing()
    }

    /// A record that only updates keys.
    pub(crate) fn key_update(&self) -> Vec<u8> {
        self.with(|tls| tls.refresh_traffic_keys()).expect("TLS 1.3");
        self.outgoing()
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.with(|tls| tls.is_handshaking())
    }

    /// What the bytes say, and whether the peer has said that nothing more comes.
    pub(crate) fn open(&self, mut bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut plaintext = Vec::new();
        let mut closed = false;
        self.with(|tls| {
            while !bytes.is_empty() && !closed {
                tls.read_tls(&mut bytes).expect("room");
                closed = tls.process_new_packets().expect("TLS").peer_has_closed();
                let mut piece = [0; 4096];
                while let Ok(read @ 1..) = tls.reader().read(&mut piece) {
                    plaintext.extend_from_slice(&piece[..read]);
                }
            }
        });
        (plaintext, closed)
    }
}
