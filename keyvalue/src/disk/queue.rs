//! What waits for a thread of a file: bounded for each component, and taken from them in turn.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::StoreError;
use crate::limits::{MAX_WAITING, MAX_WAITING_BYTES};

/// Jobs that are taken at once. More would gain nothing, and the first of them waits for the last.
const TOGETHER: usize = 256;

/// Bytes of jobs that are taken at once, but for the last of them: what a small write of one
/// component waits for when others write as much as they may.
const TOGETHER_BYTES: usize = 16 << 20;

/// Something to do.
pub(super) struct Job<W> {
    /// Whose it is: a number that no other party has as long as the job is there.
    pub(super) party: usize,
    /// What the job keeps in memory.
    pub(super) bytes: usize,
    /// Held by the caller as long as it waits. A job whose caller has gone is not done.
    pub(super) caller: Weak<()>,
    pub(super) work: W,
}

impl<W> Job<W> {
    fn is_wanted(&self) -> bool {
        self.caller.strong_count() > 0
    }
}

/// Jobs of all parties. Threads that serve it end when it is closed and empty.
pub(super) struct Queue<W> {
    state: Mutex<State<W>>,
    change: Condvar,
}

struct State<W> {
    /// Of the parties that have any. The first one is the next to be taken from.
    lanes: VecDeque<Lane<W>>,
    closed: bool,
    /// What is to be done before anything else.
    first: Option<Errand>,
    /// What is to be done when it is closed and empty, by the first thread that finds it so.
    last: Option<Errand>,
}

/// What is no job of any party.
type Errand = Box<dyn FnOnce() + Send>;

/// What waits of one party, in its order.
struct Lane<W> {
    party: usize,
    bytes: usize,
    jobs: VecDeque<Job<W>>,
}

impl<W> Lane<W> {
    fn has_room(&self, bytes: usize) -> bool {
        self.jobs.len() < MAX_WAITING && self.bytes.saturating_add(bytes) <= MAX_WAITING_BYTES
    }

    fn push(&mut self, job: Job<W>) {
        self.bytes = self.bytes.saturating_add(job.bytes);
        self.jobs.push_back(job);
    }

    fn pop(&mut self) -> Option<Job<W>> {
        let job = self.jobs.pop_front()?;
        self.bytes = self.bytes.saturating_sub(job.bytes);
        Some(job)
    }

    /// Takes out the jobs whose callers have gone.
    fn sweep(&mut self) -> Vec<Job<W>> {
        let (wanted, gone): (Vec<_>, Vec<_>) = self.jobs.drain(..).partition(|job| job.is_wanted());
        self.bytes = wanted.iter().map(|job| job.bytes).sum();
        self.jobs = wanted.into();
        gone
    }
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        let state = State { lanes: VecDeque::new(), closed: false, first: None, last: None };
        Self { state: Mutex::new(state), change: Condvar::new() }
    }
}

impl<W> fmt::Debug for Queue<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<W> Queue<W> {
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job.
    ///
    /// # Errors
    /// [`StoreError::Busy`]: of this party too much waits already.
    pub(super) fn push(&self, job: Job<W>) -> Result<(), StoreError> {
        let mut state = self.lock();
        let known = state.lanes.iter_mut().find(|lane| lane.party == job.party);
        // Dropped after the lock is let go of: a job may be the last one to hold its store.
        let mut gone = Vec::new();
        let pushed = match known {
            Some(lane) => {
                if !lane.has_room(job.bytes) {
                    gone = lane.sweep();
                }
                if lane.has_room(job.bytes) {
                    lane.push(job);
                    Ok(())
                } else {
                    gone.push(job);
                    Err(StoreError::Busy)
                }
            }
            None => {
                let mut lane = Lane { party: job.party, bytes: 0, jobs: VecDeque::new() };
                lane.push(job);
                state.lanes.push_back(lane);
                Ok(())
            }
        };
        drop(state);
        drop(gone);
        self.change.notify_one();
        pushed
    }

    /// What is next, `most` jobs at most; one of each party, then the next one of each. Waits until
    /// there is something, or an errand. None: the queue has been closed.
    fn take(&self, most: usize) -> Option<Vec<Job<W>>> {
        let mut state = self.lock();
        while state.lanes.is_empty() {
            if state.closed {
                return None;
            }
            if state.first.is_some() {
                return Some(Vec::new());
            }
            // Until the last user of the file has gone, at the latest.
            state = self.change.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut taken, mut bytes) = (Vec::new(), 0_usize);
        while taken.len() < most && bytes < TOGETHER_BYTES {
            let Some(mut lane) = state.lanes.pop_front() else { break };
            if let Some(job) = lane.pop() {
                bytes = bytes.saturating_add(if job.is_wanted() { job.bytes } else { 0 });
                taken.push(job);
            }
            if !lane.jobs.is_empty() {
                state.lanes.push_back(lane);
            }
        }
        Some(taken)
    }

    /// Has a thread do this between two jobs, as the next thing. Takes the place of one that is not begun.
    pub(super) fn interrupt(&self, first: Errand) {
        let before = self.lock().first.replace(first);
        // Outside of the lock.
        drop(before);
        self.change.notify_one();
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().lanes.is_empty()
    }

    /// Ends the threads, once nothing waits any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.change.notify_all();
    }

    /// The same, and one of them does this at its end.
    pub(super) fn close_with(&self, last: Errand) {
        self.lock().last = Some(last);
        self.close();
    }

    /// Bytes that wait, of all parties.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.lock().lanes.iter().map(|lane| lane.bytes).sum()
    }
}

impl<W: Send + 'static> Queue<W> {
    /// Starts a thread of the queue's own that does jobs one by one, and `then` after each. Tokio's
    /// threads for blocking work are shared by all components, so any of them could keep a file waiting.
    pub(super) fn serve_each(
        self: &Arc<Self>,
        work: fn(W),
        then: impl Fn() + Send + 'static,
    ) -> std::io::Result<()> {
        self.serve(1, move |jobs| jobs.into_iter().for_each(work), then)
    }

    /// Starts a thread of the queue's own that does many jobs at once, and `then` after them.
    pub(super) fn serve_all(
        self: &Arc<Self>,
        work: fn(Vec<W>),
        then: impl Fn() + Send + 'static,
    ) -> std::io::Result<()> {
        self.serve(TOGETHER, work, then)
    }

    fn serve(
        self: &Arc<Self>,
        most: usize,
        work: impl Fn(Vec<W>) + Send + 'static,
        then: impl Fn() + Send + 'static,
    ) -> std::io::Result<()> {
        let queue = self.clone();
        let serve = move || {
            while let Some(jobs) = queue.take(most) {
                let first = queue.lock().first.take();
                let wanted = jobs.into_iter().filter(Job::is_wanted).map(|job| job.work).collect();
                // The caller of work that panics sees the end of its channel.
                let done = || {
                    if let Some(first) = first {
                        first();
                    }
                    work(wanted);
                };
                catch_unwind(AssertUnwindSafe(done)).ok();
                catch_unwind(AssertUnwindSafe(&then)).ok();
            }
            let last = queue.lock().last.take();
            if let Some(last) = last {
                catch_unwind(AssertUnwindSafe(last)).ok();
            }
        };
        std::thread::Builder::new().name("keyvalue".to_owned()).spawn(serve).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &Queue<usize>, party: usize, bytes: usize, caller: &Arc<()>) -> bool {
        let caller = Arc::downgrade(caller);
        queue.push(Job { party, bytes, caller, work: party }).is_ok()
    }

    fn parties(jobs: Vec<Job<usize>>) -> Vec<usize> {
        jobs.into_iter().map(|job| job.work).collect()
    }

    #[test]
    fn parties_take_turns_however_much_one_of_them_wants() {
        let (queue, caller) = (Queue::default(), Arc::new(()));
        for party in [1, 1, 1, 1, 2, 3, 3] {
            assert!(push(&queue, party, 0, &caller));
        }
        assert_eq!(parties(queue.take(4).unwrap()), [1, 2, 3, 1]);
        assert_eq!(parties(queue.take(4).unwrap()), [3, 1, 1]);
    }

    #[test]
    fn large_jobs_are_not_taken_all_at_once() {
        let (queue, caller) = (Queue::default(), Arc::new(()));
        for _ in 0..4 {
            assert!(push(&queue, 1, TOGETHER_BYTES / 2, &caller));
        }
        assert!(push(&queue, 2, 1, &caller));
        assert_eq!(parties(queue.take(TOGETHER).unwrap()), [1, 2, 1]);
        assert_eq!(parties(queue.take(TOGETHER).unwrap()), [1, 1]);
    }

    #[test]
    fn a_party_that_is_full_is_refused_and_no_other_one() {
        let (queue, caller) = (Queue::default(), Arc::new(()));
        assert!(push(&queue, 1, MAX_WAITING_BYTES, &caller));
        assert!(!push(&queue, 1, 1, &caller));
        assert!(push(&queue, 2, 1, &caller));
        for _ in 0..MAX_WAITING {
            assert!(push(&queue, 3, 0, &caller));
        }
        assert!(!push(&queue, 3, 0, &caller));
    }

    #[test]
    fn what_nobody_waits_for_takes_no_room() {
        let (queue, gone, caller) = (Queue::default(), Arc::new(()), Arc::new(()));
        for _ in 0..4 {
            assert!(push(&queue, 1, MAX_WAITING_BYTES / 4, &gone));
        }
        assert!(!push(&queue, 1, 1, &caller));
        drop(gone);
        assert!(push(&queue, 1, 1, &caller));
        assert_eq!(queue.bytes(), 1);
    }

    #[test]
    fn a_closed_queue_ends_its_threads() {
        let queue: Queue<usize> = Queue::default();
        queue.close();
        assert!(queue.take(1).is_none());
    }
}
