//! Turns on the workers: a component whose guests compute without pause gets no more than half of
//! them while another component has work too.
//!
//! A guest that has computed for a tick gives way. If only its own component is busy, it goes to the
//! end of tokio's queue and on. If others are, it waits for one of its component's turns first, of
//! which there are half as many as workers: so however many guests of one component spin, the other
//! workers are there for everybody else.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::engine::TICK;

/// A component that has run within this time is busy.
const BUSY: Duration = Duration::from_millis(50);

/// Who waits for a turn and is not told looks this often.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The workers of a process, shared by its components. Cheap to clone.
#[derive(Clone)]
pub struct Turns(Arc<Workers>);

struct Workers {
    /// Turns of each component.
    each: usize,
    born: Instant,
    components: AtomicU32,
    /// The two components that have run last.
    last: [AtomicU64; 2],
}

/// One component's part of the workers. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Share(Arc<Part>);

struct Part {
    workers: Arc<Workers>,
    number: u32,
    turns: Arc<Semaphore>,
    /// Somebody has had a turn.
    free: Notify,
}

/// An instance's turn, if it has one. Shared by its store and by whoever polls it.
#[derive(Clone)]
pub(super) struct Turn(Arc<Seat>);

struct Seat {
    share: Share,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

thread_local! {
    /// When the poll of a guest began that this thread is in.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

impl Turns {
    /// For so many worker threads.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self(Arc::new(Workers {
            each: (workers / 2).max(1),
            born: Instant::now(),
            components: AtomicU32::new(0),
            last: [const { AtomicU64::new(0) }; 2],
        }))
    }

    /// The part of another component.
    #[must_use]
    pub fn share(&self) -> Share {
        let number = self.0.components.fetch_add(1, Ordering::Relaxed) + 1;
        let turns = Arc::new(Semaphore::new(self.0.each));
        Share(Arc::new(Part { workers: self.0.clone(), number, turns, free: Notify::new() }))
    }
}

/// Which component, and when it ran last, in one word.
fn stamp(number: u32, millis: u32) -> u64 {
    u64::from(number) << 32 | u64::from(millis)
}

fn number(stamp: u64) -> u32 {
    u32::try_from(stamp >> 32).unwrap_or(0)
}

fn millis(stamp: u64) -> u32 {
    u32::try_from(stamp & u64::from(u32::MAX)).unwrap_or(0)
}

impl Workers {
    /// Milliseconds since the start; wraps after seven weeks.
    fn now(&self) -> u32 {
        u32::try_from(self.born.elapsed().as_millis() & u128::from(u32::MAX)).unwrap_or(0)
    }
}

impl Part {
    /// Takes note that a guest of this component runs. Two may do so at once and one of the notes be
    /// lost: the next poll makes it good.
    fn runs(&self) {
        let [last, before] = &self.workers.last;
        let latest = last.load(Ordering::Relaxed);
        if number(latest) != self.number {
            before.store(latest, Ordering::Relaxed);
        }
        last.store(stamp(self.number, self.workers.now()), Ordering::Relaxed);
    }

    /// Whether a guest of another component has run a moment ago.
    fn has_company(&self) -> bool {
        let now = self.workers.now();
        self.workers.last.iter().map(|it| it.load(Ordering::Relaxed)).any(|stamp| {
            let age = Duration::from_millis(now.wrapping_sub(millis(stamp)).into());
            number(stamp) != 0 && number(stamp) != self.number && age <= BUSY
        })
    }
}

impl Turn {
    pub(super) fn new(share: &Share) -> Self {
        Self(Arc::new(Seat { share: share.clone(), permit: Mutex::new(None) }))
    }

    /// Polls a guest: what it computes counts from here on, and when it gives way so does its turn.
    pub(super) fn poll<T>(&self, poll: impl FnOnce() -> T) -> (T, Duration) {
        let began = Instant::now();
        self.0.share.0.runs();
        let outer = BEGAN.replace(Some(began));
        let polled = poll();
        BEGAN.set(outer);
        self.end();
        (polled, began.elapsed())
    }

    /// Gives way to others, for as long as it takes. To be asked for from within [`Self::poll`].
    pub(super) fn give_way(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.end();
        let computed = BEGAN.get().map_or(Duration::ZERO, |began| began.elapsed());
        // tokio's yield lets the reactor be polled, so that a spinning guest delays nobody's bytes.
        if computed < TICK / 2 || !self.0.share.0.has_company() {
            return Box::pin(yield_now());
        }
        let seat = self.0.clone();
        Box::pin(async move {
            yield_now().await;
            let part = &seat.share.0;
            // Taken when it is polled, never kept for it: nobody may poll it for long, because its
            // client does not read. Whoever is told in its place may be such a one too.
            let turn = loop {
                match part.turns.clone().try_acquire_owned() {
                    Ok(turn) => break turn,
                    Err(_) => drop(timeout(LOOK_AGAIN, part.free.notified()).await),
                }
            };
            *seat.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
        })
    }

    fn end(&self) {
        if let Some(turn) = self.permit().take() {
            drop(turn);
            self.0.share.0.free.notify_one();
        }
    }

    fn permit(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.0.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").field("each", &self.0.each).finish_non_exhaustive()
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("number", &self.0.number).finish_non_exhaustive()
    }
}
