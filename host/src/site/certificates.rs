//! The certificates of listeners, as part of a reload.

use host_certs::{CertificateReload, ListenerError, PreparedCertificates};
use host_manifest::Manifest;

use super::builder::{SiteBuilder, in_time};
use crate::component::{Rejected, Step};

impl SiteBuilder {
    /// Reads the certificates that a manifest names, or without one those in use anew. Nothing changes yet. None if
    /// no listener has TLS.
    ///
    /// # Errors
    /// When the files cannot be read in time.
    pub(super) async fn prepare_certificates(
        &self,
        manifest: Option<&Manifest>,
    ) -> Result<Option<PreparedCertificates>, Rejected> {
        let Some(store) = self.certificates.clone() else { return Ok(None) };
        let wanted = manifest.map(|manifest| manifest.listen.listeners.clone());
        let read = move || Ok(store.prepare(wanted.as_deref()));
        in_time("reading certificates", Step::Certificates, read).await.map(Some)
    }

    /// The same, of which all has to be right: for a reload that changes all that it reads, or nothing.
    ///
    /// # Errors
    /// The first file that cannot be used. It may be changing just now, so the same reload may succeed later.
    pub(super) async fn prove_certificates(
        &self,
        manifest: Option<&Manifest>,
    ) -> Result<Option<PreparedCertificates>, Rejected> {
        let prepared = self.prepare_certificates(manifest).await?;
        let errors = prepared.as_ref().map(PreparedCertificates::errors).unwrap_or_default();
        let Some(why) = self.certificate_refusal(&errors) else { return Ok(prepared) };
        if let (Some(store), Some(prepared)) = (&self.certificates, prepared) {
            store.refuse(prepared);
        }
        Err(Rejected::for_now(Step::Certificates, why))
    }

    /// From the next handshake on these certificates are shown. Where a file could not be used, what was there before
    /// stays.
    pub(super) fn publish_certificates(
        &self,
        prepared: Option<PreparedCertificates>,
    ) -> CertificateReload {
        match (&self.certificates, prepared) {
            (Some(store), Some(prepared)) => store.publish(prepared),
            _ => CertificateReload::default(),
        }
    }

    /// What to say of these errors, in one line; none if there are none.
    pub(super) fn certificate_refusal(&self, errors: &[ListenerError]) -> Option<String> {
        let first = errors.first()?;
        let first = first.in_file(self.manifest().map(|(path, _)| path));
        let more = match errors.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        Some(first + &more)
    }
}
