//! Whose time it is. What a guest waits for others is not its time: for the client's bytes, and, as a
//! plugin, for those behind it.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use host_clock::Moment;
use tokio::sync::Notify;

use super::blame::Awaited;
use super::peer_fault::PeerFault;

/// What a plugin gets above its own time, for each that stands behind it, while it waits for them:
/// limits are often the same for all of a chain, and the one that made the others late is judged first.
const MOMENT: Duration = Duration::from_millis(500);

/// Those behind a plugin, as its deadlines see them. Cheap to clone: all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Downstream(Arc<Owed>);

#[derive(Debug)]
struct Owed {
    /// Heads and frames that they owe.
    pending: AtomicUsize,
    /// Requests passed on that have no response yet.
    unanswered: AtomicUsize,
    /// Told when the first of them is passed on and when the last one has its response. Only the plugin's exchange
    /// waits for that.
    changed: Notify,
    /// Requests passed on that the plugin has a claim on.
    claims: AtomicUsize,
    /// How many they are.
    stages: u32,
}

/// They owe a frame as long as this lives.
pub(super) struct Pending(Downstream);

/// A request that was passed on has no response as long as this lives.
pub(super) struct Unanswered(Pending);

/// A plugin's claim on a request that it has passed on, to the end of the response.
pub(super) struct Claim(Downstream);

impl Downstream {
    /// So many components behind a plugin.
    pub(super) fn new(stages: usize) -> Self {
        let stages = u32::try_from(stages).unwrap_or(u32::MAX);
        Self(Arc::new(Owed {
            pending: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            changed: Notify::new(),
            claims: AtomicUsize::new(0),
            stages,
        }))
    }

    /// They owe a frame.
    pub(super) fn pending(&self) -> Pending {
        self.0.pending.fetch_add(1, Ordering::AcqRel);
        Pending(self.clone())
    }

    /// They owe a head.
    pub(super) fn unanswered(&self) -> Unanswered {
        if self.0.unanswered.fetch_add(1, Ordering::AcqRel) == 0 {
            self.0.changed.notify_one();
        }
        Unanswered(self.pending())
    }

    /// A claim on a request, unless there are `most` already.
    pub(super) fn claim(&self, most: usize) -> Option<Claim> {
        // Counted first, so a claim that is refused is given back.
        let before = self.0.claims.fetch_add(1, Ordering::AcqRel);
        Some(Claim(self.clone())).filter(|_| before < most)
    }

    /// A response of theirs broke off: what the plugin owes its client now, it owes for that. They are
    /// waited for to the end of the exchange.
    pub(super) fn broke_off(&self) {
        self.0.pending.fetch_add(1, Ordering::AcqRel);
    }

    /// A claim that nothing can refuse.
    pub(super) fn first_claim(&self) -> Claim {
        self.0.claims.fetch_add(1, Ordering::AcqRel);
        Claim(self.clone())
    }

    fn are_waited_for(&self) -> bool {
        self.0.pending.load(Ordering::Acquire) > 0
    }

    /// Waits until a request that was passed on has no response (`any`), or until each has one. Those behind have
    /// deadlines of their own. Cancel-safe.
    async fn is_unanswered(&self, any: bool) {
        loop {
            // Made before the look, so that a change after it is not missed.
            let changed = pin!(self.0.changed.notified());
            if (self.0.unanswered.load(Ordering::Acquire) > 0) == any {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.0.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let owed = &self.0.0.0;
        if owed.unanswered.fetch_sub(1, Ordering::AcqRel) == 1 {
            owed.changed.notify_one();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.0.claims.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The deadlines of one component in an exchange.
#[derive(Clone)]
pub(super) struct Deadlines {
    peer_fault: PeerFault,
    /// Of a plugin.
    downstream: Option<Downstream>,
    /// The end of the whole exchange, if it has one.
    pub(super) total: Option<Moment>,
}

impl Deadlines {
    pub(super) fn new(
        peer_fault: &PeerFault,
        downstream: Option<Downstream>,
        total: Option<Moment>,
    ) -> Self {
        Self { peer_fault: peer_fault.clone(), downstream, total }
    }

    /// Whose turn it is.
    pub(super) fn awaited(&self) -> Awaited {
        let behind = self.downstream.as_ref().is_some_and(Downstream::are_waited_for);
        if behind || self.peer_fault.waits_for_client() { Awaited::Others } else { Awaited::Guest }
    }

    /// Whether the whole exchange has taken too long.
    pub(super) fn is_over(&self) -> bool {
        self.total.is_some_and(|total| (total + self.moment()).is_over())
    }

    /// Waits until it has.
    pub(super) async fn over(self) {
        match self.total {
            Some(total) => host_clock::until(total).await,
            None => pending().await,
        }
        host_clock::pass(self.moment()).await;
    }

    /// Waits until the guest has sent nothing for too long.
    pub(super) async fn silence(self, patience: Duration) {
        self.peer_fault.time_without_client(patience).await;
        host_clock::pass(self.moment()).await;
    }

    /// Waits until the head of an answer is late. While what a plugin has passed on has no answer its
    /// clock stands still, and begins anew after that.
    pub(super) async fn head_is_late(&self, patience: Duration) {
        let own = async {
            loop {
                let Some(downstream) = &self.downstream else {
                    return self.peer_fault.time_without_client(patience).await;
                };
                downstream.is_unanswered(false).await;
                tokio::select! {
                    () = downstream.is_unanswered(true) => {}
                    () = self.peer_fault.time_without_client(patience) => return,
                }
            }
        };
        tokio::select! {
            () = self.clone().over() => {}
            () = own => {}
        }
    }

    /// What there is left to wait, beyond its time, for those behind.
    fn moment(&self) -> Duration {
        match &self.downstream {
            Some(downstream) if downstream.are_waited_for() => MOMENT * downstream.0.stages,
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// All clocks of a chain ended in the same millisecond: now the plugin was put aside for the
    /// application's silence, now the application.
    #[tokio::test(start_paused = true)]
    async fn a_plugin_is_judged_after_those_that_it_waits_for() {
        let began = Moment::now();
        let (client, total) = (PeerFault::default(), Some(began + SECOND));
        let app = Deadlines::new(&client.behind(), None, total);
        let downstream = Downstream::new(2);
        let plugin = Deadlines::new(&client, Some(downstream.clone()), total);
        let pending = downstream.pending();
        app.clone().over().await;
        assert_eq!(began.elapsed(), SECOND);
        assert_eq!((app.is_over(), app.awaited()), (true, Awaited::Guest));
        assert_eq!((plugin.is_over(), plugin.awaited()), (false, Awaited::Others));
        plugin.clone().over().await;
        assert_eq!(began.elapsed(), SECOND + 2 * MOMENT);
        assert!(plugin.is_over());
        let silent = Moment::now();
        plugin.clone().silence(SECOND).await;
        assert_eq!(silent.elapsed(), SECOND + 2 * MOMENT);
        drop(pending);
        assert_eq!(plugin.awaited(), Awaited::Guest);
        plugin.silence(SECOND).await;
        assert_eq!(silent.elapsed(), 2 * (SECOND + MOMENT), "its own silence");
    }
}
