//! One certificate with its key, checked.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use host_manifest::{CertificateConfig, SniName};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::error::CertificateError;
use crate::identity::Fingerprint;
use crate::pem;
use crate::validity::Validity;

/// A certificate that a listener can show. Its key does not show up in `Debug`.
pub(crate) struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    /// Names that clients ask for it by.
    pub(crate) names: Vec<SniName>,
    pub(crate) validity: Validity,
    pub(crate) sha256: Fingerprint,
}

impl Certificate {
    /// Reads a certificate and its key. Whether it has expired is not looked at. Blocks.
    pub(crate) fn load(config: &CertificateConfig) -> Result<Self, CertificateError> {
        let CertificateConfig { cert, key, names } = config;
        let chain = pem::certificates(cert, &pem::read(cert)?)?;
        let private = pem::key(key, &pem::read(key)?)?;
        let facts = Facts::of_chain(cert, &chain)?;
        let private = ring::sign::any_supported_type(&private).map_err(|why| {
            CertificateError::UnusableKey { path: key.clone(), why: why.to_string() }
        })?;
        let sha256 = Fingerprint::of(&chain[0]);
        let certified = CertifiedKey::new(chain, private);
        match certified.keys_match() {
            Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(TlsError::InconsistentKeys(_)) => {
                let belongs_to = owner(&certified);
                let (cert, key) = (cert.clone(), key.clone());
                return Err(CertificateError::Mismatch { cert, key, belongs_to });
            }
            Err(why) => {
                let (path, why) = (cert.clone(), why.to_string());
                return Err(CertificateError::BadCertificate { path, number: 1, why });
            }
        }
        let names = if names.is_empty() { facts.names } else { names.clone() };
        let (key, validity) = (Arc::new(certified), facts.validity);
        Ok(Self { key, names, validity, sha256 })
    }

    /// Whether the other one has the same certificates in it, and so the same key.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// The cryptography of all listeners.
pub(crate) fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// What a certificate says of itself.
struct Facts {
    names: Vec<SniName>,
    validity: Validity,
}

impl Facts {
    /// Of the first certificate; the others have to be certificates too.
    fn of_chain(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Self, CertificateError> {
        let bad = |number: usize, why: String| CertificateError::BadCertificate {
            path: path.to_owned(),
            number: number + 1,
            why,
        };
        let mut all =
            chain.iter().enumerate().map(|(number, der)| match X509Certificate::from_der(der) {
                Ok(([], parsed)) => Ok(parsed),
                Ok(_) => Err(bad(number, "there is something behind it".into())),
                Err(why) => Err(bad(number, why.to_string())),
            });
        let first = all.next().unwrap_or_else(|| Err(bad(0, "it is missing".into())))?;
        let validity = Validity {
            not_before: first.validity().not_before.timestamp(),
            not_after: first.validity().not_after.timestamp(),
        };
        let names = names(&first);
        all.try_for_each(|other| other.map(drop))?;
        Ok(Self { names, validity })
    }
}

/// The DNS names of a certificate that a client can ask for. Its common name is none: no client of today looks at it
/// (RFC 9525).
fn names(certificate: &X509Certificate<'_>) -> Vec<SniName> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => name.parse().ok(),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

/// The certificate of the chain, counted from 1, that the key belongs to.
fn owner(certified: &CertifiedKey) -> Option<usize> {
    let public = certified.key.public_key()?;
    let is_owner = |der: &CertificateDer<'_>| {
        X509Certificate::from_der(der).is_ok_and(|(_, it)| it.public_key().raw == public.as_ref())
    };
    certified.cert.iter().position(is_owner).map(|place| place + 1)
}
