//! What the peers of an exchange did to it, so that no guest is judged for that.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host_clock::Moment;

use super::failure::Failure;

/// What the peer of an exchange did to it, if anything: a guest that cannot go on then has not failed.
/// Shared by all who judge the exchange; in a chain, what the client did is seen by all.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict(Arc<Judged>);

#[derive(Debug, Default)]
struct Judged {
    peer: AtomicU8,
    /// Of the plugin whose request it is, for which its own peers come first.
    before: Option<Verdict>,
    /// Of the exchange around all others.
    client: Mutex<Stopwatch>,
}

/// How long bytes of the client's upload were waited for.
#[derive(Debug, Default)]
struct Stopwatch {
    /// In waits that are over.
    waited: Duration,
    /// Since when one lasts, and when the client's time is up: nobody need be there to read then.
    now: Option<(Moment, Moment)>,
}

impl Stopwatch {
    fn waited(&self, now: Moment) -> Duration {
        let wait = self.now.map(|(since, until)| now.min(until) - since);
        self.waited + wait.unwrap_or_default()
    }
}

pub(super) const FINE: u8 = 0;
pub(super) const TOO_LARGE: u8 = 1;
pub(super) const TOO_SLOW: u8 = 2;
pub(super) const BROKEN_OFF: u8 = 3;

/// A clock that stands still is looked at again no sooner than after this.
const LOOK: Duration = Duration::from_millis(50);

impl Verdict {
    /// Of those to whom a plugin passes on: that plugin is their peer.
    pub(super) fn behind(&self) -> Self {
        Self(Arc::new(Judged { before: Some(self.clone()), ..Judged::default() }))
    }

    /// The answer that the peer is owed for what it did. A plugin that broke its request off is owed
    /// none: [`Failure::Plugin`] is for who waits for the plugin's answer, if there is none better.
    pub(super) fn failure(&self) -> Option<Failure> {
        let before = self.0.before.as_ref();
        before.and_then(Self::failure).or_else(|| match self.0.peer.load(Ordering::Acquire) {
            FINE => None,
            TOO_LARGE => Some(Failure::BodyTooLarge),
            TOO_SLOW => Some(Failure::BodyTooSlow),
            _ if before.is_some() => Some(Failure::Plugin),
            _ => Some(Failure::PeerGone),
        })
    }

    /// The same, of the client or of whoever sent too much: a plugin that broke its request off is owed
    /// nothing, so what the guest made of that stands.
    pub(super) fn fault(&self) -> Option<Failure> {
        self.failure().filter(|failure| *failure != Failure::Plugin)
    }

    /// Nobody waits for the answer any more. To be said before the guest is dropped: those behind it
    /// see their ends of its bodies break, maybe on another thread, and are not to blame.
    pub(super) fn peer_is_gone(&self) {
        self.set(BROKEN_OFF);
    }

    /// Says so when it is dropped. To be made behind the guest, so that it goes before the guest does.
    pub(super) fn on_drop(&self) -> PeerGone<'_> {
        PeerGone(Some(self))
    }

    /// The first word stands: what comes after follows from it.
    pub(super) fn set(&self, verdict: u8) {
        // Who came first is what the peer is told; that another was there before is no error.
        self.0.peer.compare_exchange(FINE, verdict, Ordering::AcqRel, Ordering::Acquire).ok();
    }

    /// A guest waits for bytes of the client, which has time until then; or does not any more.
    pub(super) fn client_is_waited_for(&self, until: Option<Moment>) {
        let (mut client, now) = (self.client(), Moment::now());
        client.waited = client.waited(now);
        client.now = until.map(|until| (now, until));
    }

    /// Whether somebody waits for bytes of the client, whose time is not up.
    pub(super) fn waits_for_client(&self) -> bool {
        self.client().now.is_some_and(|(_, until)| !until.is_over())
    }

    /// Waits until so much time is over in which nobody waited for bytes of the client. The client
    /// has its own time, so this ends.
    pub(super) async fn time_without_client(&self, time: Duration) {
        let began = Moment::now();
        let before = self.client().waited(began);
        loop {
            let now = Moment::now();
            let waited = self.client().waited(now).saturating_sub(before);
            let end = began + time + waited;
            if end <= now {
                return;
            }
            let soonest = if self.waits_for_client() { now + LOOK } else { now };
            host_clock::until(end.max(soonest)).await;
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

/// Says that the peer is gone unless it is told that somebody waits.
pub(super) struct PeerGone<'a>(Option<&'a Verdict>);

impl PeerGone<'_> {
    /// The guest has come to an end of its own.
    pub(super) fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for PeerGone<'_> {
    fn drop(&mut self) {
        if let Some(verdict) = self.0 {
            verdict.peer_is_gone();
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
        let client = Verdict::default();
        let behind = client.behind().behind();
        client.on_drop().defuse();
        assert_eq!(behind.failure(), None);
        drop(client.on_drop());
        assert_eq!(behind.failure(), Some(Failure::PeerGone));
    }

    #[test]
    fn the_first_word_on_an_upload_stands() {
        let verdict = Verdict::default();
        verdict.set(TOO_SLOW);
        verdict.peer_is_gone();
        assert_eq!(verdict.failure(), Some(Failure::BodyTooSlow));
    }

    /// A client that sent a byte now and then made a guest late that could only wait for it.
    #[tokio::test(start_paused = true)]
    async fn the_time_that_a_client_takes_is_not_the_guests() {
        let client = Verdict::default();
        let behind = client.behind();
        let began = Moment::now();
        let clock = async {
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
        let (took, ()) = tokio::join!(clock, waits);
        assert!((203 * SECOND..204 * SECOND).contains(&took), "{took:?}");
    }

    /// Nobody need read on: then nobody notices that the client is too slow.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_waited_for_no_longer_than_its_time() {
        let client = Verdict::default();
        let began = Moment::now();
        client.client_is_waited_for(Some(began + 30 * SECOND));
        client.time_without_client(3 * SECOND).await;
        let took = began.elapsed();
        assert!((33 * SECOND..34 * SECOND).contains(&took), "{took:?}");
        assert!(!client.waits_for_client());
    }
}
