//! For tests: an authority, what it issues, and handshakes without sockets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_manifest::{
    AlpnProtocol, CertificateConfig, ClientAuth, ClientCertificates, ListenerConfig, TlsConfig,
    TlsVersion,
};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use tempfile::TempDir;

use crate::certificate::provider;
use crate::store::{CertificateReload, CertificateStore};
use crate::tickets::TicketKeys;

pub(crate) struct TestAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

/// Which years a certificate is good for.
pub(crate) type Years = (i32, i32);

/// From before any test to after all of them.
pub(crate) const GOOD: Years = (2020, 2120);
pub(crate) const ENDED: Years = (2020, 2021);

impl TestAuthority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn issue(&self, names: &[&str], years: Years) -> Issued {
        self.issue_by(names, years, KeyPair::generate().unwrap())
    }

    pub(crate) fn issue_by(&self, names: &[&str], (from, to): Years, key: KeyPair) -> Issued {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = |name: &&str| SanType::DnsName((*name).try_into().unwrap());
        params.subject_alt_names = names.iter().map(name).collect();
        params.distinguished_name.push(DnType::CommonName, "a test");
        (params.not_before, params.not_after) =
            (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate, key }
    }

    /// A client that trusts it, and shows this certificate if it has one.
    pub(crate) fn client(&self, shows: Option<&Issued>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match shows {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let chain = vec![shown.certificate.der().clone()];
                let key = PrivateKeyDer::try_from(shown.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }
}

impl Issued {
    /// Writes `NAME.pem` and `NAME.key`.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> CertificateConfig {
        let (cert, key) = files(folder, name);
        std::fs::write(&cert, self.certificate.pem()).unwrap();
        std::fs::write(&key, self.key.serialize_pem()).unwrap();
        CertificateConfig { cert, key, names: Vec::new() }
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }
}

pub(crate) fn files(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")))
}

/// A listener with these certificates.
pub(crate) fn listener(address: &str, certificates: Vec<CertificateConfig>) -> ListenerConfig {
    let mut listener = ListenerConfig::plain(address.parse().unwrap());
    listener.tls = Some(TlsConfig {
        certificates,
        clients: None,
        alpn: AlpnProtocol::ALL.to_vec(),
        min_version: TlsVersion::Tls12,
        line: Some(7),
    });
    listener
}

/// The same, for clients that this file vouches for.
pub(crate) fn with_clients(
    mut listener: ListenerConfig,
    authorities: PathBuf,
    auth: ClientAuth,
) -> ListenerConfig {
    let tls = listener.tls.as_mut().unwrap();
    tls.clients = Some(ClientCertificates { authorities, auth });
    listener
}

/// Shakes hands and tells the session's tickets to the client.
pub(crate) fn shake_hands(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.clone(), name)?;
    let mut server = ServerConnection::new(server.clone())?;
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut unread = &bytes[..];
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut unread = &bytes[..];
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok((client, server))
}

pub(crate) const HERE: &str = "127.0.0.1:8443";

/// An authority, and a folder for what it issues.
pub(crate) struct Setup {
    pub(crate) authority: TestAuthority,
    pub(crate) folder: TempDir,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self { authority: TestAuthority::new("test"), folder: TempDir::new().unwrap() }
    }

    pub(crate) fn issue(&self, name: &str) -> Issued {
        self.authority.issue(&[name], GOOD)
    }

    pub(crate) fn write(&self, file: &str, name: &str) -> CertificateConfig {
        self.issue(name).write(self.folder.path(), file)
    }

    /// The certificate that a client is shown who asks for this name.
    #[track_caller]
    pub(crate) fn shown(
        &self,
        server: &Arc<ServerConfig>,
        name: &str,
    ) -> Vec<CertificateDer<'static>> {
        let client = Arc::new(self.authority.client(None));
        let (client, _) = shake_hands(server, &client, name).unwrap();
        client.peer_certificates().unwrap().to_vec()
    }
}

pub(crate) fn load(listeners: &[ListenerConfig]) -> CertificateStore {
    CertificateStore::load(listeners, TicketKeys::new().unwrap()).unwrap()
}

/// What a listener's next handshake goes by.
pub(crate) fn newest(store: &CertificateStore) -> Arc<ServerConfig> {
    store.receiver(0).unwrap().borrow().clone()
}

pub(crate) fn reload(store: &CertificateStore) -> CertificateReload {
    store.publish(store.prepare(None))
}
