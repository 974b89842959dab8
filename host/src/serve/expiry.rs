//! Warns of certificates that are near their end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use host_certs::{CertificateStatus, CertificateStore, Fingerprint, ListenerTlsStatus};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use crate::site::SwapRecord;

/// A certificate of 90 days is renewed 30 days before its end: after 16 of them something is wrong.
const SOON: i64 = 14 * DAY;

/// The same certificate is warned of once in this time.
const AGAIN: i64 = DAY;

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// The time of day is looked at this often: it may be set, and the machine may have slept.
const LOOK_EVERY: Duration = Duration::from_secs(15 * 60);

/// Warns at the start, after each change, and once a day. Ends when there are no more changes to come.
pub(super) async fn warn(
    store: Arc<CertificateStore>,
    mut changes: watch::Receiver<Option<SwapRecord>>,
) {
    let mut warnings = Warnings::default();
    loop {
        for warning in warnings.due(&store.status(), host_certs::now()) {
            warn!("{warning}");
        }
        if let Ok(Err(_)) = timeout(LOOK_EVERY, changes.changed()).await {
            return;
        }
    }
}

/// When each certificate was last warned of.
#[derive(Debug, Default)]
struct Warnings(BTreeMap<(String, Fingerprint), i64>);

impl Warnings {
    fn due(&mut self, listeners: &[ListenerTlsStatus], now: i64) -> Vec<String> {
        let mut due = Vec::new();
        let mut warned = BTreeMap::new();
        for ListenerTlsStatus { listener, certificates, .. } in listeners {
            for certificate in certificates {
                let Some(why) = trouble(certificate, now) else { continue };
                let key = (listener.clone(), certificate.sha256);
                let last = self.0.get(&key).copied();
                let is_due = last.is_none_or(|last| (now - last).abs() >= AGAIN);
                if is_due {
                    due.push(format!("listener {listener}: the certificate {why}"));
                }
                warned.insert(key, last.filter(|_| !is_due).unwrap_or(now));
            }
        }
        self.0 = warned;
        due
    }
}

/// What is wrong with its time, if something is: `shop.example (shop.pem) ends in 3 days, …`.
pub(crate) fn trouble(certificate: &CertificateStatus, now: i64) -> Option<String> {
    let (validity, file) = (certificate.validity, certificate.file.display());
    let what = format!("{} ({file})", certificate.label());
    if validity.has_ended(now) {
        let ended = certificate.not_after();
        return Some(format!("{what} ended {ended}: clients refuse it; renew it"));
    }
    if validity.is_early(now) {
        let begins = certificate.not_before();
        return Some(format!(
            "{what} is good from {begins} on: clients refuse it until then; look at the clock of this machine"
        ));
    }
    let left = validity.left(now);
    (left <= SOON).then(|| {
        let days = left / DAY;
        let days = if days == 1 { "1 day".into() } else { format!("{days} days") };
        format!("{what} ends in {days}, {}; renew it", certificate.not_after())
    })
}

#[cfg(test)]
mod tests {
    use host_certs::Validity;
    use tokio::time::Instant;

    use super::*;

    const NOON: i64 = 1_800_000_000;

    fn listener(name: &str, left: i64) -> ListenerTlsStatus {
        let validity = Validity { not_before: NOON - 90 * DAY, not_after: NOON + left };
        let certificate = CertificateStatus {
            file: "a.pem".into(),
            names: vec!["a.example".into(), "b.example".into()],
            validity,
            sha256: Fingerprint([u8::try_from(left / DAY).unwrap_or(0); 32]),
            loaded: Instant::now(),
        };
        let (listener, certificates, errors) = (name.into(), vec![certificate], Vec::new());
        ListenerTlsStatus { listener, certificates, errors }
    }

    #[test]
    fn a_certificate_is_warned_of_from_14_days_on_and_once_a_day() {
        let mut warnings = Warnings::default();
        let at = |left: i64| [listener("public", 20 * DAY), listener("other", left)];
        let all = at(90 * DAY);
        assert_eq!(warnings.due(&all, NOON), [""; 0]);
        assert_eq!(warnings.due(&all, NOON + 6 * DAY - 1), [""; 0]);
        let first = warnings.due(&all, NOON + 6 * DAY);
        let says = "listener public: the certificate a.example (a.pem) ends in 14 days, 2027-02-04T08:00:00Z; renew it";
        assert_eq!(first, [says]);
        assert_eq!(warnings.due(&all, NOON + 6 * DAY + 1), [""; 0]);
        assert_eq!(warnings.due(&all, NOON + 7 * DAY - 1), [""; 0]);
        assert!(warnings.due(&all, NOON + 7 * DAY)[0].contains("ends in 13 days"));
        // Another certificate is another matter, and one that was renewed none.
        let both = warnings.due(&at(13 * DAY), NOON + 7 * DAY + 1);
        assert_eq!(both.len(), 1, "{both:?}");
        assert_eq!(warnings.due(&[listener("public", 90 * DAY)], NOON + 8 * DAY), [""; 0]);
    }

    #[test]
    fn one_that_has_ended_or_not_begun_is_warned_of() {
        let mut warnings = Warnings::default();
        let ended = [listener("public", 5 * DAY)];
        assert!(warnings.due(&ended, NOON + 5 * DAY + 1)[0].contains("ended 2027-01-20T08:00:00Z"));
        let early = warnings.due(&ended, NOON - 91 * DAY);
        assert!(early[0].contains("is good from 2026-10-17T08:00:00Z on"), "{early:?}");
        assert!(Warnings::default().due(&ended, NOON + 4 * DAY)[0].contains("ends in 1 day, "));
    }
}
