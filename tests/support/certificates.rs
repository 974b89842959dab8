//! Certificates of a test's own, and clients that shake hands over TLS.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, fs};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, SanType, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion, version,
};

use super::PATIENCE;
use super::app::{Folder, text};
use super::host::Host;
use super::http1::{Body, Head, Response, chunk_size};
use super::target::Target;

/// An authority that signs certificates, and a folder for them.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    /// Where they are written.
    pub folder: Folder,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A certificate and its key.
pub struct Issued {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    /// A new one, whose own certificate is in `NAME-ca.pem`.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        let folder = Folder::new();
        fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), certificate, folder }
    }

    /// The path of a file of its folder.
    pub fn file(&self, name: &str) -> String {
        text(&self.folder.join(name)).to_owned()
    }

    /// A certificate for these names, from before any test to after all of them.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_until(names, 2120)
    }

    /// One that ends with the beginning of this year.
    pub fn issue_until(&self, names: &[&str], year: i32) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = |name: &&str| match name.strip_prefix("spiffe:") {
            Some(_) => SanType::URI((*name).try_into().unwrap()),
            None => SanType::DnsName((*name).try_into().unwrap()),
        };
        params.subject_alt_names = names.iter().map(name).collect();
        // It has a name of its own, which would come first.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Tests");
        params.distinguished_name.push(DnType::CommonName, names[0]);
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate, key }
    }

    /// Writes a new certificate for this name as `FILE.pem` and `FILE.key`.
    pub fn write(&self, file: &str, name: &str) -> Issued {
        let issued = self.issue(&[name]);
        self.put(file, &issued);
        issued
    }

    /// Writes one as `FILE.pem` and `FILE.key`, each by a rename, the key first.
    pub fn put(&self, file: &str, issued: &Issued) {
        self.put_text(&format!("{file}.key"), &issued.key_pem());
        self.put_text(&format!("{file}.pem"), &issued.pem());
    }

    /// Writes a text into a file by a rename.
    pub fn put_text(&self, file: &str, text: &str) {
        let new = self.folder.join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.folder.join(file)).unwrap();
    }

    /// The flags that have a host show `FILE.pem` at a port of 127.0.0.1 that the kernel chooses.
    pub fn flags(&self, file: &str) -> Vec<String> {
        let [cert, key] = [".pem", ".key"].map(|end| self.file(&format!("{file}{end}")));
        ["--tls-addr", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key]
            .map(str::to_owned)
            .into()
    }

    /// A client that trusts it.
    pub fn client(&self) -> TlsClient {
        TlsClient { roots: self.certificate.der().clone(), shows: None, versions: &BOTH, alpn: &[] }
    }
}

impl Issued {
    /// The certificate as it goes over the wire.
    pub fn der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// The same as text.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The key as text.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

/// What a client does in its handshake.
#[derive(Clone, Debug)]
pub struct TlsClient {
    roots: CertificateDer<'static>,
    shows: Option<Arc<Issued>>,
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: &'static [&'static str],
}

impl TlsClient {
    /// It shows this certificate.
    pub fn showing(self, issued: Issued) -> Self {
        Self { shows: Some(Arc::new(issued)), ..self }
    }

    /// It speaks these versions only.
    pub fn speaking(self, versions: &'static [&'static SupportedProtocolVersion]) -> Self {
        Self { versions, ..self }
    }

    /// It asks for these protocols.
    pub fn asking_for(self, alpn: &'static [&'static str]) -> Self {
        Self { alpn, ..self }
    }

    /// As rustls has it. Its sessions are resumed.
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.roots.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.shows {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![issued.der().clone()], key).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|it| (*it).into()).collect();
        Arc::new(config)
    }

    /// Connects and shakes hands with a host, whose listener with TLS is its last.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn connect(&self, host: &Host, name: &str) -> io::Result<TlsConn> {
        TlsConn::new(host, &self.config(), name)
    }
}

/// A connection over TLS, for HTTP/1.
#[derive(Debug)]
pub struct TlsConn(StreamOwned<ClientConnection, TcpStream>);

impl TlsConn {
    /// Shakes hands with a host, whose listener with TLS is its last.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn new(host: &Host, config: &Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        let Some(Target::Tcp(address)) = host.addrs().last() else { panic!("no TCP address") };
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self(StreamOwned::new(tls, socket)))
    }

    /// What the handshake has come to.
    pub fn tls(&self) -> &ClientConnection {
        &self.0.conn
    }

    /// Whether it goes on with a session of before.
    pub fn is_resumed(&self) -> bool {
        self.tls().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate that the host has shown.
    pub fn shown(&self) -> CertificateDer<'static> {
        self.tls().peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// Asks for a path, and reads the response.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"))
    }

    /// Sends this request, and reads the response.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn ask(&mut self, request: &str) -> io::Result<Response> {
        self.0.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(head) = Head::parse(&bytes).map_err(io::Error::other)? {
                break head;
            }
            bytes.push(self.byte()?);
        };
        let mut body = Vec::new();
        match head.header("content-length") {
            Some(length) => {
                body = vec![0; length.parse().unwrap()];
                self.0.read_exact(&mut body)?;
            }
            None => loop {
                let size = chunk_size(&self.line()?).unwrap();
                let mut chunk = vec![0; size];
                self.0.read_exact(&mut chunk)?;
                body.extend(chunk);
                self.line()?;
                if size == 0 {
                    break;
                }
            },
        }
        Ok(Response { head, body: Body { bytes: body, trailers: Vec::new() } })
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.0.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.byte()?);
        }
        Ok(String::from_utf8_lossy(&line).trim().to_owned())
    }
}
