//! Frees what has ended and nobody asks for any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::bucket::{Bucket, Buckets};

/// Between two looks. What has ended is never read, so this is only how long its room is taken.
const EVERY: Duration = Duration::from_secs(1);

/// Steps in one bucket before the next bucket has its turn.
const STEPS: usize = 20;

/// The buckets that are open.
#[derive(Debug, Default)]
pub(crate) struct OpenBuckets(Mutex<Vec<Weak<BTreeMap<String, Bucket>>>>);

impl OpenBuckets {
    pub(crate) fn add(&self, buckets: &Buckets) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|open| open.strong_count() > 0);
        all.push(Arc::downgrade(buckets.all()));
    }

    fn open(&self) -> Vec<Weak<BTreeMap<String, Bucket>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Frees what has ended in each of them. A store that fails is left for the next time; it says so itself.
    pub(crate) async fn sweep(&self) {
        for open in self.open() {
            // One at a time: what is held here is not closed.
            let Some(buckets) = open.upgrade() else { continue };
            for bucket in buckets.values() {
                for _ in 0..STEPS {
                    match bucket.free().await {
                        Ok(true) => {}
                        Ok(false) | Err(_) => break,
                    }
                }
            }
        }
    }

    /// Does so every second, for ever.
    pub(crate) async fn keep_sweeping(&self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sweep().await;
        }
    }
}
