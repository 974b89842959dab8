//! The certificates of all listeners, as they are in use, and how they are replaced.
//!
//! A reload has two steps: [`prepare`](CertificateStore::prepare) reads all files and changes nothing;
//! [`publish`](CertificateStore::publish) has the next handshake go by what was read, or
//! [`refuse`](CertificateStore::refuse) notes why it does not.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_manifest::{CertificateConfig, ListenAddr, ListenerConfig, Stamp, TlsConfig};
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::error::ListenerError;
use crate::reading::{InUse, Loaded, PreparedListener, Reading, Stamps};
use crate::status::{CertificateStatus, ListenerTlsStatus};
use crate::tickets::TicketKeys;

/// The certificates of all listeners that have some. Dropping it ends the receivers, which keep their last value.
#[derive(Debug)]
pub struct CertificateStore {
    listeners: Vec<ListenerCertificates>,
    tickets: TicketKeys,
    reloaded: AtomicU64,
    unchanged: AtomicU64,
    rejected: AtomicU64,
}

#[derive(Debug)]
struct ListenerCertificates {
    /// Its place among the listeners of the manifest.
    place: usize,
    address: ListenAddr,
    label: String,
    server: watch::Sender<Arc<ServerConfig>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    in_use: InUse,
    /// What each file of those in use was when it was last read, whatever came of that.
    stamps: Stamps,
    /// Why files of those in use could not be taken as they are now.
    errors: Vec<ListenerError>,
    /// Why those that a manifest has named instead could not be taken, until one is.
    refused: Vec<ListenerError>,
}

/// What a look into all files has found. Nothing of it is in use.
#[derive(Debug)]
#[must_use]
pub struct PreparedCertificates {
    listeners: Vec<PreparedListener>,
    /// The files are those that a manifest names.
    of_manifest: bool,
}

/// What has become of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateReload {
    /// What has changed, in words: one for each certificate that is new, and for each listener with other settings.
    pub changed: Vec<String>,
    /// Why a file could not be used. What was there before stays in use.
    pub errors: Vec<ListenerError>,
}

impl CertificateStore {
    /// Reads the certificates of those of these listeners that have TLS. One that has expired is taken: its listener
    /// would serve nobody without it. Blocks.
    ///
    /// # Errors
    /// All that is wrong with any of them.
    pub fn load(
        listeners: &[ListenerConfig],
        tickets: TicketKeys,
    ) -> Result<Self, Vec<ListenerError>> {
        let (mut loaded, mut errors) = (Vec::new(), Vec::new());
        for (place, listener) in listeners.iter().enumerate() {
            let Some(config) = &listener.tls else { continue };
            let label = listener.label();
            let prepared =
                Reading { label: &label, config, before: None, tickets: &tickets }.prepare();
            errors.extend(prepared.errors);
            let Some((in_use, server)) = prepared.next else { continue };
            let (errors, refused) = Default::default();
            let state = State { in_use, stamps: prepared.stamps, errors, refused };
            loaded.push(ListenerCertificates {
                place,
                address: listener.address.clone(),
                label,
                server: watch::Sender::new(server),
                state: Mutex::new(state),
            });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let (reloaded, unchanged, rejected) = Default::default();
        Ok(Self { listeners: loaded, tickets, reloaded, unchanged, rejected })
    }

    /// What the handshakes of the listener at this place of the manifest go by, always the newest; none if it has no
    /// TLS.
    #[must_use]
    pub fn receiver(&self, place: usize) -> Option<watch::Receiver<Arc<ServerConfig>>> {
        let mut listeners = self.listeners.iter();
        listeners
            .find(|listener| listener.place == place)
            .map(|listener| listener.server.subscribe())
    }

    /// Whether no listener has TLS.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// The keys of tickets, which a successor needs.
    #[must_use]
    pub fn tickets(&self) -> &TicketKeys {
        &self.tickets
    }

    /// Reads all files anew, and changes nothing. Without `wanted` they are those in use; with it, those that these
    /// listeners name, where they are listeners of this process. A certificate that has expired is refused, unless
    /// it is in use. Blocks.
    pub fn prepare(&self, wanted: Option<&[ListenerConfig]>) -> PreparedCertificates {
        let prepare = |listener: &ListenerCertificates| {
            let before = listener.state().in_use.clone();
            let config = wanted.and_then(|wanted| listener.find(wanted)).unwrap_or(&before.config);
            let (label, tickets) = (&*listener.label, &self.tickets);
            Reading { label, config, before: Some(&before), tickets }.prepare()
        };
        let listeners = self.listeners.iter().map(prepare).collect();
        PreparedCertificates { listeners, of_manifest: wanted.is_some() }
    }

    /// Has the next handshakes go by what was read. Where a file could not be used, what was there before stays.
    pub fn publish(&self, prepared: PreparedCertificates) -> CertificateReload {
        let mut reload = CertificateReload::default();
        let of_manifest = prepared.of_manifest;
        for (listener, mut prepared) in self.listeners.iter().zip(prepared.listeners) {
            let changed = std::mem::take(&mut prepared.changed);
            reload.errors.extend(prepared.errors.iter().cloned());
            if let Some(server) = listener.state().take(prepared, of_manifest) {
                listener.server.send_replace(server);
                reload.changed.extend(changed);
            }
        }
        let count = match (reload.errors.is_empty(), reload.changed.is_empty()) {
            (false, _) => &self.rejected,
            (true, true) => &self.unchanged,
            (true, false) => &self.reloaded,
        };
        count.fetch_add(1, Ordering::Relaxed);
        reload
    }

    /// Notes why files could not be used. Everything stays as it is.
    pub fn refuse(&self, prepared: PreparedCertificates) {
        let of_manifest = prepared.of_manifest;
        for (listener, prepared) in self.listeners.iter().zip(prepared.listeners) {
            let refused = PreparedListener { next: None, ..prepared };
            // Nothing is put into use, so nothing comes back.
            listener.state().take(refused, of_manifest);
        }
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// The files that are in use, each with what it was when it was last read. Some may be there twice.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Stamp)> {
        let stamps = |listener: &ListenerCertificates| listener.state().stamps.clone();
        self.listeners.iter().flat_map(stamps).collect()
    }

    /// What is in use, by listener.
    #[must_use]
    pub fn status(&self) -> Vec<ListenerTlsStatus> {
        self.listeners.iter().map(ListenerCertificates::status).collect()
    }

    /// How many reloads there were, by outcome.
    #[must_use]
    pub fn reloads(&self) -> [(&'static str, u64); 3] {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("reloaded", count(&self.reloaded)),
            ("unchanged", count(&self.unchanged)),
            ("rejected", count(&self.rejected)),
        ]
    }
}

impl PreparedCertificates {
    /// Why a file could not be used.
    #[must_use]
    pub fn errors(&self) -> Vec<ListenerError> {
        self.listeners.iter().flat_map(|listener| listener.errors.clone()).collect()
    }
}

impl State {
    /// Notes what a reading has found, and gives what handshakes go by from now on, if that is new. The files in use stay
    /// the ones to be watched, whatever a manifest has named in vain.
    fn take(&mut self, read: PreparedListener, of_manifest: bool) -> Option<Arc<ServerConfig>> {
        if of_manifest {
            self.refused.clear();
        }
        if read.next.is_some() || read.stamps.keys().eq(self.stamps.keys()) {
            (self.stamps, self.errors) = (read.stamps, read.errors);
        } else {
            self.refused = read.errors;
        }
        let (in_use, server) = read.next?;
        self.in_use = in_use;
        Some(server)
    }

    fn all_errors(&self) -> impl Iterator<Item = &ListenerError> {
        self.errors.iter().chain(&self.refused)
    }
}

impl ListenerCertificates {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What another manifest says of its TLS, if it is a listener there.
    fn find<'a>(&self, wanted: &'a [ListenerConfig]) -> Option<&'a TlsConfig> {
        let is_it = |listener: &&ListenerConfig| listener.address == self.address;
        let same_place = wanted.get(self.place).filter(is_it);
        same_place.or_else(|| wanted.iter().find(is_it))?.tls.as_ref()
    }

    fn status(&self) -> ListenerTlsStatus {
        let state = self.state();
        let InUse { config, certificates, .. } = &state.in_use;
        let certificates = config.certificates.iter().zip(certificates);
        let status = |(config, Loaded { certificate, at }): (&CertificateConfig, &Loaded)| {
            CertificateStatus::new(config, certificate, *at)
        };
        ListenerTlsStatus {
            listener: self.label.clone(),
            certificates: certificates.map(status).collect(),
            errors: state.all_errors().map(|error| error.error.to_string()).collect(),
        }
    }
}
