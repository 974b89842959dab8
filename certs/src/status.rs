//! What there is to see of the certificates of listeners.

use std::path::PathBuf;

use host_manifest::CertificateConfig;
use tokio::time::Instant;

use crate::certificate::Certificate;
use crate::identity::Fingerprint;
use crate::validity::{Validity, rfc3339};

/// The certificates of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTlsStatus {
    /// The listener, as it is called.
    pub listener: String,
    /// In the order of the manifest.
    pub certificates: Vec<CertificateStatus>,
    /// Why its latest reload failed, one for each file that could not be used; empty if it did not fail. What was
    /// there before is still in use then.
    pub errors: Vec<String>,
}

/// A certificate in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// Its file.
    pub file: PathBuf,
    /// Names that clients ask for it by; empty if it has none.
    pub names: Vec<String>,
    /// From when and until when it holds.
    pub validity: Validity,
    /// SHA-256 of the certificate.
    pub sha256: Fingerprint,
    /// When it was loaded.
    pub loaded: Instant,
}

impl CertificateStatus {
    pub(crate) fn new(
        config: &CertificateConfig,
        certificate: &Certificate,
        loaded: Instant,
    ) -> Self {
        Self {
            file: config.cert.clone(),
            names: certificate.names.iter().map(ToString::to_string).collect(),
            validity: certificate.validity,
            sha256: certificate.sha256,
            loaded,
        }
    }

    /// Its last second, as RFC 3339 has it: `2026-11-29T17:26:00Z`.
    #[must_use]
    pub fn not_after(&self) -> String {
        rfc3339(self.validity.not_after)
    }

    /// Its first second, as RFC 3339 has it.
    #[must_use]
    pub fn not_before(&self) -> String {
        rfc3339(self.validity.not_before)
    }

    /// What to call it in few words: its first name, or its file.
    #[must_use]
    pub fn label(&self) -> String {
        self.names.first().cloned().unwrap_or_else(|| self.file.display().to_string())
    }
}
