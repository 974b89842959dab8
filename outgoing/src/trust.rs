//! Whose certificates are believed.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;
use tokio::task;

use crate::SendError;

/// The roots of the process: read once, when the first `https` request comes.
static PROCESS: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();

/// Sessions of TLS that one client may resume.
const SESSIONS: usize = 256;

/// Whose certificates are believed.
#[derive(Clone, Default)]
pub struct Trust(ReplayBody);

#[derive(Clone, Default)]
enum ReplayBody {
    #[default]
    Process,
    Only(Vec<CertificateDer<'static>>),
}

impl Trust {
    /// The roots of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` stand for them, if set) together
    /// with those of Mozilla, which are in the program: the certificates of public servers are
    /// believed also where the system brings none.
    #[must_use]
    pub fn process() -> Self {
        Self(ReplayBody::Process)
    }

    /// These roots and no others.
    #[must_use]
    pub fn only(roots: Vec<CertificateDer<'static>>) -> Self {
        Self(ReplayBody::Only(roots))
    }

    /// The configuration for one client, which has sessions of its own: a component must not see
    /// from the speed of a handshake where another one has been.
    pub(crate) async fn config(&self) -> Result<Arc<ClientConfig>, SendError> {
        let base = match &self.0 {
            ReplayBody::Process => Arc::clone(PROCESS.get_or_try_init(load).await?),
            ReplayBody::Only(roots) => {
                let mut store = RootCertStore::empty();
                store.add_parsable_certificates(roots.iter().cloned());
                config(store)?
            }
        };
        let mut own = ClientConfig::clone(&base);
        own.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Arc::new(own))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ReplayBody::Process => f.write_str("Trust::process"),
            ReplayBody::Only(roots) => write!(f, "Trust::only({})", roots.len()),
        }
    }
}

fn of_roots(error: &dyn std::error::Error) -> SendError {
    SendError::Tls { host: "anybody".into(), why: error.to_string() }
}

/// Reads files, so away from the threads that serve.
async fn load() -> Result<Arc<ClientConfig>, SendError> {
    let read = task::spawn_blocking(|| {
        let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let native = rustls_native_certs::load_native_certs();
        for error in native.errors {
            tracing::warn!(%error, "a root certificate of the system is left out");
        }
        store.add_parsable_certificates(native.certs);
        config(store)
    });
    read.await.map_err(|error| of_roots(&error))?
}

/// TLS 1.2 and 1.3; HTTP/2 if the server wants it, else HTTP/1.1.
fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, SendError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| of_roots(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
