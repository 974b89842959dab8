//! TLS for clients of tests: a certificate of the whole run, and sessions whose records are sent when the test says so.

use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::app::Folder;

/// A pair that a host is started with. The files are there until the run ends.
#[derive(Debug)]
struct Pair {
    folder: Folder,
    roots: RootCertStore,
}

static PAIR: LazyLock<Pair> = LazyLock::new(|| {
    let pair = rcgen::generate_simple_self_signed(["localhost".into()]).expect("a certificate");
    let folder = Folder::new();
    let write = |name, text: String| std::fs::write(folder.join(name), text).expect("it is ours");
    write("cert.pem", pair.cert.pem());
    write("key.pem", pair.signing_key.serialize_pem());
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone()).expect("a root");
    Pair { folder, roots }
});

/// The file with the certificate.
pub fn certificate() -> PathBuf {
    PAIR.folder.join("cert.pem")
}

/// The file with its key.
pub fn key() -> PathBuf {
    PAIR.folder.join("key.pem")
}

/// The name in the certificate.
pub fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

/// What a client is made with that trusts the certificate and offers these protocols.
pub fn config(alpn: &[&str]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(PAIR.roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A client's session. Clones are the same one.
#[derive(Clone, Debug)]
pub struct ClientSession(Arc<Mutex<Session>>);

#[derive(Debug)]
struct Session {
    tls: ClientConnection,
    /// What has come and nobody has taken.
    plaintext: Vec<u8>,
}

impl ClientSession {
    /// A session that has not begun. It offers no protocol, so that the first bytes say which one it is.
    pub fn new() -> Self {
        let tls = ClientConnection::new(config(&[]), name()).expect("a client");
        Self(Arc::new(Mutex::new(Session { tls, plaintext: Vec::new() })))
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.0.lock().expect("it panics never")
    }

    /// Whether the handshake is under way.
    pub fn is_handshaking(&self) -> bool {
        self.session().tls.is_handshaking()
    }

    /// All that the session has to send.
    pub fn outgoing(&self) -> Vec<u8> {
        outgoing(&mut self.session().tls)
    }

    /// The records of `plaintext`.
    pub fn seal(&self, plaintext: &[u8]) -> Vec<u8> {
        let mut session = self.session();
        let mut records = Vec::new();
        let mut rest = plaintext;
        while !rest.is_empty() {
            let taken = session.tls.writer().write(rest).expect("a vector takes all");
            rest = &rest[taken..];
            records.extend(outgoing(&mut session.tls));
        }
        records
    }

    /// The record that says that nothing more comes.
    pub fn close_notify(&self) -> Vec<u8> {
        let mut session = self.session();
        session.tls.send_close_notify();
        outgoing(&mut session.tls)
    }

    /// Takes what the peer has sent.
    ///
    /// # Errors
    /// When it is no TLS, or an alert.
    pub fn receive(&self, mut bytes: &[u8]) -> io::Result<()> {
        let Session { tls, plaintext } = &mut *self.session();
        while !bytes.is_empty() && tls.read_tls(&mut bytes)? > 0 {
            let handled = tls.process_new_packets();
            handled.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
            let mut reader = tls.reader();
            while let Ok(piece @ [_, ..]) = reader.fill_buf() {
                let length = piece.len();
                plaintext.extend_from_slice(piece);
                reader.consume(length);
            }
        }
        Ok(())
    }

    /// Whether there is plaintext that nobody has taken.
    pub fn has_plaintext(&self) -> bool {
        !self.session().plaintext.is_empty()
    }

    /// Moves it behind what is in `to`. Gives whether there was any.
    pub fn take_plaintext(&self, to: &mut Vec<u8>) -> bool {
        let plaintext = &mut self.session().plaintext;
        let any = !plaintext.is_empty();
        to.append(plaintext);
        any
    }

    /// Whether the peer has said `close_notify`.
    pub fn is_closed(&self) -> bool {
        self.session().tls.reader().fill_buf().is_ok_and(<[u8]>::is_empty)
    }
}

fn outgoing(session: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut bytes).expect("a vector takes all");
    }
    bytes
}
