//! What the peers of an exchange did to it, so that no guest is judged for that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use host_clock::Moment;
use host_manifest::LimitReached;

/// What the peer of a request did to its body. The peer is the client, or the plugin before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadFault {
    /// It sent more than it may.
    TooLarge,
    /// It sent too slowly.
    TooSlow,
    /// The client went away, or sent what is no body; or it waits for no response any more.
    BrokenOff,
    /// The plugin that passed the request on broke it off.
    BrokenOffByPlugin,
}

impl UploadFault {
    /// The word for it in logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "body-too-large",
            Self::TooSlow => "body-too-slow",
            Self::BrokenOff | Self::BrokenOffByPlugin => "peer-gone",
        }
    }
}

/// What the peer of an exchange did to it, if anything: a guest that cannot go on then has not failed.
/// Cheap to clone: all clones are one. In a chain, what the client did is seen by all.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerFault(Arc<Record>);

#[derive(Debug, Default)]
struct Record {
    /// The first one stands: what comes after follows from it.
    fault: OnceLock<UploadFault>,
    /// The limit that the fault is about, if it is about one. Set before it.
    limit: OnceLock<LimitReached>,
    /// Of the plugin whose request it is, for which its own peers come first.
    before: Option<PeerFault>,
    /// Of the exchange around all others.
    client: Mutex<Stopwatch>,
    /// Bytes of its body that were read.
    received: AtomicU64,
}

/// How long bytes of the client's upload were waited for.
#[derive(Debug, Default)]
struct Stopwatch {
    /// In waits that are over.
    waited: Duration,
    /// Since when one lasts, and when the client's time is up: the guest may have stopped reading by then.
    now: Option<(Moment, Moment)>,
}

impl Stopwatch {
    fn waited(&self, now: Moment) -> Duration {
        let wait = self.now.map(|(since, until)| now.min(until) - since);
        self.waited + wait.unwrap_or_default()
    }
}

/// A clock that stands still is looked at again no sooner than after this.
const LOOK: Duration = Duration::from_millis(50);

impl PeerFault {
    /// Of those to whom a plugin passes on: that plugin is their peer.
    pub(super) fn behind(&self) -> Self {
        Self(Arc::new(Record { before: Some(self.clone()), ..Record::default() }))
    }

    /// What the peer did. What the client did comes before what a plugin did.
    pub(super) fn fault(&self) -> Option<UploadFault> {
        let before = self.0.before.as_ref();
        before.and_then(Self::fault).or_else(|| match self.0.fault.get() {
            Some(UploadFault::BrokenOff) if before.is_some() => {
                Some(UploadFault::BrokenOffByPlugin)
            }
            fault => fault.copied(),
        })
    }

    /// The response is not waited for any more. To be said before the guest is dropped: those behind it
    /// see their ends of its bodies break, maybe on another thread, and are not to blame.
    pub(super) fn peer_is_gone(&self) {
        self.set(UploadFault::BrokenOff);
    }

    /// Says so when it is dropped. To be made behind the guest, so that it goes before the guest does.
    pub(super) fn on_drop(&self) -> PeerGone<'_> {
        PeerGone(Some(self))
    }

    /// Takes note of what the peer did, unless it has done something before.
    pub(super) fn set(&self, fault: UploadFault) {
        // That another was there before is no error.
        self.0.fault.set(fault).ok();
    }

    /// So many bytes of the request's body were read.
    pub(super) fn receive(&self, bytes: u64) {
        self.0.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of the request's body that were read.
    pub(super) fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Takes note that the peer has reached this limit, unless it has done something before.
    pub(super) fn reached(&self, fault: UploadFault, limit: LimitReached) {
        if self.0.fault.get().is_none() {
            self.0.limit.set(limit).ok();
        }
        self.set(fault);
    }

    /// The limit that the peer has reached, if that is what it did.
    pub(super) fn limit(&self) -> Option<LimitReached> {
        let before = self.0.before.as_ref().and_then(Self::limit);
        before.or_else(|| self.0.limit.get().copied())
    }

    /// A guest waits for bytes of the client, which has time until then; or does not any more.
    pub(super) fn client_is_waited_for(&self, until: Option<Moment>) {
        let (mut client, now) = (self.client(), Moment::now());
        client.waited = client.waited(now);
        client.now = until.map(|until| (now, until));
    }

    /// Whether bytes of the client are waited for, and its time is not up.
    pub(super) fn waits_for_client(&self) -> bool {
        self.client().now.is_some_and(|(_, until)| !until.is_over())
    }

    /// Waits until so much time is over in which no bytes of the client were waited for. The client
    /// has its own time, so this ends.
    pub(super) async fn time_without_client(&self, time: Duration) {
        let began = Moment::now();
        let before = self.client().waited(began);
        let mut now = began;
        loop {
            let waited = self.client().waited(now).saturating_sub(before);
            let end = began + time + waited;
            if end <= now {
                return;
            }
            let soonest = if self.waits_for_client() { now + LOOK } else { now };
            host_clock::until(end.max(soonest)).await;
            now = Moment::now();
        }
    }

    /// The client's part: that of the exchange around all others.
    fn client(&self) -> MutexGuard<'_, Stopwatch> {
        let mut first = self;
        while let Some(before) = &first.0.before {
            first = before;
        }
        first.0.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that the peer is gone, unless it is defused.
pub(super) struct PeerGone<'a>(Option<&'a PeerFault>);

impl PeerGone<'_> {
    /// The guest has come to an end of its own.
    pub(super) fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for PeerGone<'_> {
    fn drop(&mut self) {
        if let Some(peer_fault) = self.0 {
            peer_fault.peer_is_gone();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_the_client_does_is_known_to_all_behind() {
        let client = PeerFault::default();
        let behind = client.behind().behind();
        client.on_drop().defuse();
        assert_eq!(behind.fault(), None);
        drop(client.on_drop());
        assert_eq!(behind.fault(), Some(UploadFault::BrokenOff));
    }

    #[test]
    fn the_first_word_on_an_upload_stands() {
        let peer_fault = PeerFault::default();
        peer_fault.set(UploadFault::TooSlow);
        peer_fault.peer_is_gone();
        assert_eq!(peer_fault.fault(), Some(UploadFault::TooSlow));
    }

    /// A client that sent a byte now and then made a guest late that could only wait for it.
    #[tokio::test(start_paused = true)]
    async fn the_time_that_a_client_takes_is_not_the_guests() {
        let client = PeerFault::default();
        let behind = client.behind();
        let began = Moment::now();
        let deadlines = async {
            behind.time_without_client(3 * SECOND).await;
            began.elapsed()
        };
        let waits = async {
            advance(SECOND).await;
            for _ in 0..10 {
                client.client_is_waited_for(Some(Moment::now() + 30 * SECOND));
                assert!(behind.waits_for_client());
                advance(20 * SECOND).await;
                client.client_is_waited_for(None);
                assert!(!behind.waits_for_client());
            }
        };
        let (took, ()) = tokio::join!(deadlines, waits);
        assert!((203 * SECOND..204 * SECOND).contains(&took), "{took:?}");
    }

    /// A guest may stop reading: then no read finds out that the client is too slow.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_waited_for_no_longer_than_its_time() {
        let client = PeerFault::default();
        let began = Moment::now();
        client.client_is_waited_for(Some(began + 30 * SECOND));
        client.time_without_client(3 * SECOND).await;
        let took = began.elapsed();
        assert!((33 * SECOND..34 * SECOND).contains(&took), "{took:?}");
        assert!(!client.waits_for_client());
    }
}
