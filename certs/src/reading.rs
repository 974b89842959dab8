//! The files of one listener, read: what of it is new, and what is wrong with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_manifest::{CertificateConfig, Stamp, TlsConfig};
use rustls::ServerConfig;
use tokio::time::Instant;

use crate::authorities::Authorities;
use crate::certificate::Certificate;
use crate::error::{CertificateError, ListenerError};
use crate::server_config::server_config;
use crate::tickets::TicketKeys;
use crate::validity::{now, rfc3339};

/// What each file was when it was last read, whatever came of that.
pub(crate) type Stamps = BTreeMap<PathBuf, Stamp>;

/// What the handshakes of a listener go by.
#[derive(Clone, Debug)]
pub(crate) struct InUse {
    pub(crate) config: TlsConfig,
    /// In the order of `config`.
    pub(crate) certificates: Vec<Loaded>,
    pub(crate) authorities: Option<Arc<Authorities>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) at: Instant,
}

/// What a reading of the files of a listener has found.
#[derive(Debug)]
pub(crate) struct PreparedListener {
    /// None if it is what is in use, or if nothing could be made of it.
    pub(crate) next: Option<(InUse, Arc<ServerConfig>)>,
    /// The certificates that are new, in words.
    pub(crate) changed: Vec<String>,
    pub(crate) stamps: Stamps,
    pub(crate) errors: Vec<ListenerError>,
}

/// A reading of the files of one listener.
pub(crate) struct Reading<'a> {
    pub(crate) label: &'a str,
    pub(crate) config: &'a TlsConfig,
    /// What is in use; none at the start.
    pub(crate) before: Option<&'a InUse>,
    pub(crate) tickets: &'a TicketKeys,
}

impl Reading<'_> {
    pub(crate) fn prepare(&self) -> PreparedListener {
        let (mut stamps, mut errors, mut changed) = (Stamps::new(), Vec::new(), Vec::new());
        let mut certificates = Vec::new();
        for (place, config) in self.config.certificates.iter().enumerate() {
            // Before the files are read: what comes after it gives another stamp.
            note(&mut stamps, [&*config.cert, &*config.key]);
            let before = self.in_use_of(config);
            match self.certificate(place, config, before) {
                Ok(Some(next)) => {
                    changed.push(self.words(&next));
                    let certificate = Arc::new(next);
                    certificates.push(Some(Loaded { certificate, at: Instant::now() }));
                }
                Ok(None) => certificates.push(before.cloned()),
                Err(why) => {
                    errors.push(why);
                    certificates.push(before.cloned());
                }
            }
        }
        let authorities = self.authorities(&mut stamps).unwrap_or_else(|why| {
            errors.push(why);
            self.before.and_then(|before| before.authorities.clone())
        });
        let errors: Vec<_> = errors.into_iter().map(|error| self.error(error)).collect();
        let mut prepared = PreparedListener { next: None, changed, stamps, errors };
        let whole = certificates.into_iter().collect::<Option<Vec<_>>>();
        let Some(certificates) = whole else { return prepared };
        let next = InUse { config: self.config.clone(), certificates, authorities };
        match self.before {
            Some(before) if before.is_same(&next) => {}
            _ => prepared.replace(self, next),
        }
        prepared
    }

    /// A certificate that is not in use yet; none if it is.
    fn certificate(
        &self,
        place: usize,
        config: &CertificateConfig,
        before: Option<&Loaded>,
    ) -> Result<Option<Certificate>, CertificateError> {
        let next = Certificate::load(config)?;
        if let Some(Loaded { certificate, .. }) = before
            && certificate.is_same(&next)
            && certificate.names == next.names
        {
            return Ok(None);
        }
        let is_used = |loaded: &Loaded| loaded.certificate.is_same(&next);
        let is_in_use = self.before.is_some_and(|before| before.certificates.iter().any(is_used));
        if self.before.is_some() && !is_in_use && next.validity.has_ended(now()) {
            let ended = rfc3339(next.validity.not_after);
            return Err(CertificateError::Expired { path: config.cert.clone(), ended });
        }
        if place > 0 && next.names.is_empty() {
            return Err(CertificateError::NoName { path: config.cert.clone() });
        }
        Ok(Some(next))
    }

    fn authorities(
        &self,
        stamps: &mut Stamps,
    ) -> Result<Option<Arc<Authorities>>, CertificateError> {
        let Some(clients) = &self.config.clients else { return Ok(None) };
        note(stamps, [&*clients.authorities]);
        Authorities::load(clients).map(|authorities| Some(Arc::new(authorities)))
    }

    /// What is in use of these files.
    fn in_use_of(&self, config: &CertificateConfig) -> Option<&Loaded> {
        let before = self.before?;
        let mut pairs = before.config.certificates.iter().zip(&before.certificates);
        pairs
            .find(|(it, _)| it.cert == config.cert && it.key == config.key)
            .map(|(_, loaded)| loaded)
    }

    fn words(&self, certificate: &Certificate) -> String {
        let names: Vec<_> = certificate.names.iter().take(3).map(ToString::to_string).collect();
        let more = certificate.names.len().saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names =
            if names.is_empty() { "a certificate".into() } else { names.join(", ") + &more };
        format!("{}: {names} until {}", self.label, rfc3339(certificate.validity.not_after))
    }

    fn error(&self, error: CertificateError) -> ListenerError {
        ListenerError { listener: self.label.to_owned(), line: self.config.line, error }
    }
}

impl PreparedListener {
    fn replace(&mut self, reading: &Reading<'_>, next: InUse) {
        let all: Vec<_> =
            next.certificates.iter().map(|loaded| loaded.certificate.clone()).collect();
        let authorities = next.authorities.as_deref();
        match server_config(&next.config, &all, authorities, reading.tickets) {
            Ok(server) => {
                if self.changed.is_empty() {
                    self.changed.push(format!("{}: its settings", reading.label));
                }
                self.next = Some((next, server));
            }
            // Its versions and suites are constants.
            Err(why) => {
                let path = next.config.certificates.first().map(|it| it.cert.clone());
                let (path, why) = (path.unwrap_or_default(), why.to_string());
                self.errors.push(reading.error(CertificateError::UnusableKey { path, why }));
            }
        }
    }
}

impl InUse {
    /// Whether handshakes go the same way by the other one.
    fn is_same(&self, other: &Self) -> bool {
        let settings = |it: &Self| TlsConfig { line: None, ..it.config.clone() };
        let digest = |it: &Self| it.authorities.as_ref().map(|authorities| authorities.digest);
        let mut certificates = self.certificates.iter().zip(&other.certificates);
        settings(self) == settings(other)
            && digest(self) == digest(other)
            && certificates.all(|(one, other)| Arc::ptr_eq(&one.certificate, &other.certificate))
    }
}

fn note<'a>(stamps: &mut Stamps, paths: impl IntoIterator<Item = &'a Path>) {
    for path in paths {
        // A file that is read twice counts as it was before the first time.
        stamps.entry(path.to_owned()).or_insert_with(|| Stamp::at(path));
    }
}
