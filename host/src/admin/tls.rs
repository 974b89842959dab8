//! The certificates of listeners, as operators see them.

use host_certs::{CertificateStatus, ListenerTlsStatus};

use super::convert::millis;
use crate::control::schema::{TlsCertificateStatus, TlsListenerStatus};
use crate::site::Swaps;

/// Those in use, by listener.
pub(super) fn listeners(swaps: &Swaps) -> Vec<TlsListenerStatus> {
    let Some(store) = swaps.certificates() else { return Vec::new() };
    let now = host_certs::now();
    let listener = |status: ListenerTlsStatus| TlsListenerStatus {
        listener: status.listener,
        certificates: status.certificates.iter().map(|it| certificate(it, now)).collect(),
        errors: status.errors,
    };
    store.status().into_iter().map(listener).collect()
}

fn certificate(status: &CertificateStatus, now: i64) -> TlsCertificateStatus {
    TlsCertificateStatus {
        file: status.file.clone(),
        names: status.names.clone(),
        not_before: status.not_before(),
        not_after: status.not_after(),
        left_s: status.validity.left(now),
        sha256: status.sha256.to_string(),
        loaded_ms_ago: millis(status.loaded.elapsed()),
    }
}
