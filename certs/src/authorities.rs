//! The authorities whose clients may connect.

use std::fmt;
use std::sync::Arc;

use host_manifest::{ClientAuth, ClientCertificates};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

use crate::certificate::provider;
use crate::error::CertificateError;
use crate::identity::digest;
use crate::pem;

/// What verifies the certificates of clients.
pub(crate) struct Authorities {
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
    /// Whom it lets in, and whether without a certificate.
    pub(crate) digest: [u8; 32],
}

impl Authorities {
    /// Reads the file. Blocks.
    pub(crate) fn load(config: &ClientCertificates) -> Result<Self, CertificateError> {
        let path = &config.authorities;
        let certificates = pem::certificates(path, &pem::read(path)?)?;
        let (mut roots, mut all) = (RootCertStore::empty(), Vec::new());
        for (place, certificate) in certificates.into_iter().enumerate() {
            all.extend_from_slice(&digest(&certificate));
            if !may_certify(&certificate) {
                let path = path.clone();
                return Err(CertificateError::NoAuthority { path, number: place + 1 });
            }
            roots.add(certificate).map_err(|why| {
                let (path, why) = (path.clone(), why.to_string());
                CertificateError::BadCertificate { path, number: place + 1, why }
            })?;
        }
        all.push(match config.auth {
            ClientAuth::Optional => 0,
            ClientAuth::Required => 1,
        });
        let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider().into());
        let builder = match config.auth {
            ClientAuth::Optional => builder.allow_unauthenticated(),
            ClientAuth::Required => builder,
        };
        let verifier = builder.build().map_err(|why| CertificateError::BadAuthorities {
            path: path.clone(),
            why: why.to_string(),
        })?;
        Ok(Self { verifier, digest: digest(&all) })
    }
}

/// Whether a certificate says that it may certify others, or is too old a form to say so (RFC 5280 §4.2.1.9, §4.2.1.3). The
/// verifier asks no authority in its list for that: whoever has the key of a client in there could be anybody.
/// What cannot be read here the verifier refuses.
fn may_certify(der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return true };
    let signs = certificate
        .key_usage()
        .is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    certificate.version() == X509Version::V1 || certificate.is_ca() && signs
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").finish_non_exhaustive()
    }
}
