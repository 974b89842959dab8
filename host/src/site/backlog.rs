//! The backlog of the workers: how long a task that is ready, or that the reactor would tell, waits for its turn.
//!
//! A guest runs in the task of its connection. Where more requests come than the workers can compute, all of them stand in
//! tokio's queue, and nobody there is ever refused. So requests send a probe through that queue, one at a time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

/// Longer than guests that compute hold a worker: two ticks.
const LONG: Duration = Duration::from_millis(20);

/// Between two probes.
const PAUSE: Duration = Duration::from_millis(10);

/// How long tasks wait for a worker, as far as requests have looked, and whether others will come. Cloning gives another
/// handle on the same.
#[derive(Clone, Default)]
pub struct Backlog {
    probe: Arc<Probe>,
    /// None where there is no end.
    is_ending: Option<IsEnding>,
}

type IsEnding = Arc<dyn Fn() -> bool + Send + Sync>;

/// Alone in its cache lines: every request reads it, and what lies beside it may be written as often.
#[derive(Default)]
#[repr(align(128))]
struct Probe {
    is_under_way: AtomicBool,
    is_long: AtomicBool,
}

impl Backlog {
    /// Of a process whose door is closed once `is_ending` says so: who is here by then is the last.
    #[must_use]
    pub fn until(is_ending: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { is_ending: Some(Arc::new(is_ending)), ..Self::default() }
    }

    /// Whether nobody comes any more behind those who are here.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.as_ref().is_some_and(|is_ending| is_ending())
    }

    /// Whether tasks wait for long. Sends the next probe, if it is time and `may_be` says that tasks could wait; to be
    /// called in the runtime of the workers.
    pub(super) fn is_long(&self, may_be: impl FnOnce() -> bool) -> bool {
        if !self.probe.is_under_way.load(Ordering::Relaxed) {
            if !may_be() {
                return false;
            }
            if !self.probe.is_under_way.swap(true, Ordering::Relaxed) {
                // Ends by itself, at the latest when the workers are done with what was ready before it.
                tokio::spawn(self.clone().probe());
            }
        }
        self.probe.is_long.load(Ordering::Relaxed)
    }

    /// Goes through the queue once, behind all that is ready and what the reactor has to tell.
    async fn probe(self) {
        let began = Instant::now();
        yield_now().await;
        self.probe.is_long.store(began.elapsed() > LONG, Ordering::Relaxed);
        sleep(PAUSE).await;
        self.probe.is_under_way.store(false, Ordering::Relaxed);
    }

    /// Says so.
    #[cfg(test)]
    pub(super) fn set_long(&self, is_long: bool) {
        self.probe.is_under_way.store(true, Ordering::Relaxed);
        self.probe.is_long.store(is_long, Ordering::Relaxed);
    }
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_that_wait_behind_others_for_long_are_a_backlog() {
        let backlog = Backlog::default();
        for (each, is_long) in [(1, false), (3, true), (1, false)] {
            assert!(!backlog.is_long(|| true) || !is_long);
            for _ in 0..10 {
                // In place of a guest that computes.
                tokio::spawn(
                    async move { tokio::time::advance(Duration::from_millis(each)).await },
                );
            }
            sleep(2 * PAUSE + 10 * Duration::from_millis(each)).await;
            assert_eq!(backlog.is_long(|| true), is_long, "behind ten of {each} ms");
            sleep(2 * PAUSE).await;
        }
    }
}
