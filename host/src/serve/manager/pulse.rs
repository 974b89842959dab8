//! Whether the workers still run tasks. The lifecycle's own thread would beat on if they did not: it has a runtime of its
//! own. Guests that spin give way at each tick, so a task of ours runs among them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;

/// Looks that a task may miss: it is asked to run between two of them, and the machine may be busy.
const MISSED_AT_MOST: u32 = 1;

/// A task that is asked to run at each look.
#[derive(Debug)]
pub(super) struct Pulse {
    has_run: Arc<AtomicBool>,
    missed: u32,
}

impl Default for Pulse {
    fn default() -> Self {
        // The first look finds nobody that was asked.
        Self { has_run: Arc::new(true.into()), missed: 0 }
    }
}

impl Pulse {
    /// Whether a task has run on `workers` that was asked for at one of the last two looks. Asks for the next.
    pub(super) fn beats(&mut self, workers: &Handle) -> bool {
        if self.has_run.swap(false, Ordering::Relaxed) {
            self.missed = 0;
            let has_run = self.has_run.clone();
            // Owned by nobody: it does one store.
            drop(workers.spawn(async move { has_run.store(true, Ordering::Relaxed) }));
        } else {
            self.missed += 1;
        }
        self.missed <= MISSED_AT_MOST
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::runtime::Builder;

    use super::*;

    /// A worker that never gives way, as after a deadlock: the lifecycle's thread beat on.
    #[test]
    fn workers_that_run_nothing_have_no_pulse() {
        let workers = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let handle = workers.handle().clone();
        let mut pulse = Pulse::default();
        assert!(pulse.beats(&handle));
        // The task that it has asked for is before this one in the queue, or may be behind it.
        let (stuck, is_stuck) = mpsc::channel();
        let (free, is_free) = mpsc::channel::<()>();
        handle.spawn(async move {
            stuck.send(()).unwrap();
            is_free.recv().unwrap_err();
        });
        is_stuck.recv().unwrap();
        let beats = [(); 4].map(|()| pulse.beats(&handle));
        assert!(!beats[3], "{beats:?}");
        drop(free);
        workers.block_on(async { tokio::spawn(async {}).await.unwrap() });
        while !pulse.beats(&handle) {
            std::thread::yield_now();
        }
        workers.shutdown_background();
    }
}
