//! Certificates of listeners.

use std::fmt;

use host_certs::CertificateStore;

use super::page::{Page, family, number, seconds};

/// Writes when the certificates in use end, and how their reloads, and the latest of each listener, came out. Nothing if no listener has TLS.
pub(super) fn certificates(page: &mut Page<'_>, store: Option<&CertificateStore>) -> fmt::Result {
    let Some(store) = store else { return Ok(()) };
    let ends = seconds(
        "host_tls_certificate_expiration_timestamp",
        "When a certificate in use ends, since 1970. name: the first name in it, or its file.",
    );
    page.gauges(&ends, |samples| {
        for listener in store.status() {
            for (place, certificate) in listener.certificates.iter().enumerate() {
                // Two for one name, such as ECDSA and RSA, are told apart.
                let (place, name) = (place.to_string(), certificate.label());
                let labels =
                    [("listener", &*listener.listener), ("certificate", &place), ("name", &name)];
                #[expect(clippy::cast_precision_loss, reason = "exact for 285 million years")]
                samples.gauge(&labels, certificate.validity.not_after as f64)?;
            }
        }
        Ok(())
    })?;
    let successful = family(
        "host_tls_last_reload_successful",
        "1 if the latest reload of the certificates of a listener could use all files.",
    );
    page.gauges(&successful, |samples| {
        store.status().iter().try_for_each(|listener| {
            let is_whole = f64::from(u8::from(listener.errors.is_empty()));
            samples.gauge(&[("listener", &*listener.listener)], is_whole)
        })
    })?;
    let reloads = family(
        "host_tls_reloads",
        "Reloads of certificates: with new ones, with the same, or with one that could not be used.",
    );
    page.counters(&reloads, |samples| {
        store.reloads().iter().try_for_each(|(outcome, count)| {
            samples.counter(&[("outcome", outcome)], number(*count))
        })
    })
}
