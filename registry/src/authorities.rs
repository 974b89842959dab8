//! Whose certificates are believed.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// Authorities of certificates that are believed beside those of the system and of Mozilla: those of one's own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PrivateAuthorities(Vec<CertificateDer<'static>>);

/// A file that has no authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AuthoritiesError {
    /// There is no certificate in it.
    #[error(
        "there is no certificate in it; it needs a section that begins with -----BEGIN CERTIFICATE-----"
    )]
    None,
    /// It is damaged.
    #[error("its PEM breaks off, or is not base64; write it anew")]
    Damaged,
    /// One of its certificates is none of an authority.
    #[error(
        "certificate {number} in it cannot be used as an authority; name the certificate of the authority itself"
    )]
    Unusable {
        /// Which one, counted from 1.
        number: usize,
    },
    /// The library does not take them.
    #[error("TLS cannot be set up")]
    Setup,
}

impl PrivateAuthorities {
    /// The certificates of a file in PEM, one or several.
    ///
    /// # Errors
    /// If there is none, or one that cannot be used.
    pub fn from_pem(text: &[u8]) -> Result<Self, AuthoritiesError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let certificates = read.map_err(|_| AuthoritiesError::Damaged)?;
        if certificates.is_empty() {
            return Err(AuthoritiesError::None);
        }
        let mut store = RootCertStore::empty();
        for (at, certificate) in certificates.iter().enumerate() {
            let added = store.add(certificate.clone());
            added.map_err(|_| AuthoritiesError::Unusable { number: at + 1 })?;
        }
        Ok(Self(certificates))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for PrivateAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateAuthorities({})", self.0.len())
    }
}

/// The roots of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` stand for them, if set) together with those of Mozilla,
/// which are in the program. Reads files.
pub(crate) fn of_the_system() -> RootCertStore {
    let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let native = rustls_native_certs::load_native_certs();
    for error in native.errors {
        tracing::warn!(%error, "a root certificate of the system is left out");
    }
    store.add_parsable_certificates(native.certs);
    store
}

/// TLS 1.2 and 1.3, HTTP/1.1.
pub(crate) fn config(
    mut roots: RootCertStore,
    private: &PrivateAuthorities,
) -> Result<Arc<ClientConfig>, AuthoritiesError> {
    roots.add_parsable_certificates(private.0.iter().cloned());
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| AuthoritiesError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
