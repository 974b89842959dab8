//! Writes that wait for the one thread that commits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Disk;
use super::commit::Job;
use crate::error::Failure;
use crate::write::Reply;

/// A write, and who waits for it.
pub(super) type Waiting = (Job, oneshot::Sender<Result<Reply, Failure>>);

/// Writes in one transaction. More would gain nothing, and the first of them waits for the last.
const TOGETHER: usize = 256;

/// As long as what callers hand in: each of them waits for its own write.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    /// Somebody commits, or is about to.
    taken: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a write. Gives the turn to commit, if nobody has it.
    pub(super) fn push(
        disk: &Arc<Disk>,
        job: Job,
        done: oneshot::Sender<Result<Reply, Failure>>,
    ) -> Option<Turn> {
        let mut state = disk.queue.lock();
        state.waiting.push((job, done));
        let first = !std::mem::replace(&mut state.taken, true);
        drop(state);
        first.then(|| Turn { disk: disk.clone(), taken: false })
    }

    /// What waits, in its order. None ends the turn.
    pub(super) fn next(&self) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            state.taken = false;
            return None;
        }
        let together = state.waiting.len().min(TOGETHER);
        Some(state.waiting.drain(..together).collect())
    }
}

/// The turn to commit. If it is dropped unused, or in a panic, what waits fails and the next write
/// gets a turn.
pub(super) struct Turn {
    disk: Arc<Disk>,
    taken: bool,
}

impl Turn {
    /// Commits until nothing waits. Blocks.
    pub(super) fn take(mut self) {
        self.disk.commit_all();
        self.taken = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.taken {
            // `next` has ended it, and another one may be under way by now.
            return;
        }
        let mut state = self.disk.queue.lock();
        state.taken = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}
