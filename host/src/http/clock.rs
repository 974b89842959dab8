//! Whose time it is. What a guest waits for others is not its time: for the client's bytes, and, as a
//! plugin, for those behind it.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use host_clock::Moment;

use super::chain::Pass;
use super::verdict::Verdict;

/// What a plugin gets above its own time, for each that stands behind it, while it waits for them:
/// limits are often the same for all of a chain, and who made the others late is to be found out first.
const MOMENT: Duration = Duration::from_millis(500);

/// Those behind a plugin, as its clock sees them.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    /// Heads and frames that they owe.
    owed: Arc<AtomicUsize>,
    /// How many they are.
    stops: u32,
}

/// They owe something as long as this lives.
pub(super) struct Owed(Arc<AtomicUsize>);

impl Behind {
    pub(super) fn new(stops: usize) -> Self {
        Self { owed: Arc::default(), stops: u32::try_from(stops).unwrap_or(u32::MAX) }
    }

    pub(super) fn owe(&self) -> Owed {
        self.owed.fetch_add(1, Ordering::AcqRel);
        Owed(self.owed.clone())
    }

    /// An answer of theirs broke off: what the plugin owes its client now, it owes for that. They are
    /// waited for to the end of the exchange.
    pub(super) fn broke_off(&self) {
        self.owed.fetch_add(1, Ordering::AcqRel);
    }

    fn are_waited_for(&self) -> bool {
        self.owed.load(Ordering::Acquire) > 0
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The clock of one component in an exchange.
#[derive(Clone)]
pub(super) struct Clock {
    verdict: Verdict,
    /// Of a plugin.
    behind: Option<Behind>,
    /// The end of the whole exchange, if it has one.
    pub(super) deadline: Option<Moment>,
}

impl Clock {
    pub(super) fn new(verdict: &Verdict, pass: Option<&Pass>, deadline: Option<Moment>) -> Self {
        Self { verdict: verdict.clone(), behind: pass.map(Pass::behind), deadline }
    }

    /// Whether it is not the guest who makes this late.
    pub(super) fn is_of_others(&self) -> bool {
        self.verdict.waits_for_client() || self.behind.as_ref().is_some_and(Behind::are_waited_for)
    }

    /// Whether the whole exchange has taken too long.
    pub(super) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| (deadline + self.moment()).is_over())
    }

    /// Waits until it has.
    pub(super) async fn over(self) {
        match self.deadline {
            Some(deadline) => host_clock::until(deadline).await,
            None => pending().await,
        }
        host_clock::pass(self.moment()).await;
    }

    /// Waits until the guest has sent nothing for too long.
    pub(super) async fn silence(self, patience: Duration) {
        self.verdict.time_without_client(patience).await;
        host_clock::pass(self.moment()).await;
    }

    /// Waits until the head of an answer is late. While what a plugin has passed on has no answer its
    /// clock stands still, and begins anew after that.
    pub(super) async fn head_is_late(&self, patience: Duration, pass: Option<&Pass>) {
        let own = async {
            loop {
                let Some(pass) = pass else {
                    return self.verdict.time_without_client(patience).await;
                };
                pass.is_answered().await;
                tokio::select! {
                    () = pass.is_waiting() => {}
                    () = self.verdict.time_without_client(patience) => return,
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
        match &self.behind {
            Some(behind) if behind.are_waited_for() => MOMENT * behind.stops,
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
        let (client, deadline) = (Verdict::default(), Some(began + SECOND));
        let app = Clock { verdict: client.behind(), behind: None, deadline };
        let behind = Behind::new(2);
        let plugin = Clock { verdict: client, behind: Some(behind.clone()), deadline };
        let owed = behind.owe();
        app.clone().over().await;
        assert_eq!(began.elapsed(), SECOND);
        assert!(app.is_over() && !app.is_of_others());
        assert!(!plugin.is_over() && plugin.is_of_others());
        plugin.clone().over().await;
        assert_eq!(began.elapsed(), SECOND + 2 * MOMENT);
        assert!(plugin.is_over());
        let silent = Moment::now();
        plugin.clone().silence(SECOND).await;
        assert_eq!(silent.elapsed(), SECOND + 2 * MOMENT);
        drop(owed);
        assert!(!plugin.is_of_others());
        plugin.silence(SECOND).await;
        assert_eq!(silent.elapsed(), 2 * (SECOND + MOMENT), "its own silence");
    }
}
