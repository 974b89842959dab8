//! Slots for guests that compute: however many of a component do so without pause, no more of them than
//! there are workers stand in tokio's queue, and half as many while other components have work.
//!
//! A guest that has been stopped at a tick gives way: first to everything that is ready and to the
//! reactor, then to those of its component that wait for a slot, and takes one itself to go on. So a
//! neighbour's task, a new connection or a timer waits for the few guests that have a slot, not for
//! all that would like to compute. A short guest that a tick happens to meet needs no slot. Those of a
//! component that no tick has stopped for long take theirs before they are polled.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::cpu_time::CpuTimer;

/// A component that has run within this time is company. Longer than the pause between two requests
/// of a neighbour that is asked now and then: it would be noticed only when it has its slot, late.
const COMPANY: Duration = Duration::from_secs(2);

/// A guest that waits for a slot and is not told of one looks this often.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A guest that a tick stops and that has computed for no longer in its exchange is a short one, met by
/// chance, and goes on without a slot. A fifth of a tick: so does a fifth of those that compute for ever,
/// once.
const HARMLESS: Duration = Duration::from_millis(2);

/// A poll that takes longer was not stopped at a tick: an instruction that writes all of a memory, say,
/// or the host at work for the guest. Three ticks: one may come late.
const LONG: Duration = Duration::from_millis(30);

/// So long after such a poll, guests of the component take their slots before they are polled. Longer
/// than the pause between two requests.
const LONG_LASTS: Duration = Duration::from_secs(10);

/// The workers of a process, shared by its components. Cheap to clone.
#[derive(Clone)]
pub struct CpuScheduler(Arc<Workers>);

struct Workers {
    count: usize,
    born: Instant,
    components: AtomicU32,
    /// The two components that have run last.
    last: [AtomicU64; 2],
}

/// One component's part of the workers. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct ComponentShare(Arc<ShareState>);

struct ShareState {
    workers: Arc<Workers>,
    number: u32,
    /// Slots that guests of this component have.
    taken: AtomicUsize,
    /// Guests that wait for one.
    waiting: AtomicUsize,
    /// A slot has been given back.
    free: Notify,
    /// Until when polls of its guests are taken for long ones, in microseconds of the workers' life.
    long_until: AtomicU64,
}

/// Where the one that polls a guest waits for its slot.
pub(crate) type SlotWait = Option<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// An instance's slot, if it has one. Shared by its store and by whoever polls it.
#[derive(Clone)]
pub(crate) struct CpuSlot(Arc<SlotState>);

struct SlotState {
    share: ComponentShare,
    has_slot: AtomicBool,
    /// Microseconds that it has been polled for in this exchange, but for the poll under way.
    computed: AtomicU64,
    /// When that began, in microseconds of the workers' life.
    began: AtomicU64,
    /// It is polled by way of [`CpuSlot::poll`], which ends its slot.
    polled: AtomicBool,
    /// It gives way, and will have a slot when it goes on.
    gives_way: AtomicBool,
}

impl CpuScheduler {
    /// For so many worker threads.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self(Arc::new(Workers {
            count: workers,
            born: Instant::now(),
            components: AtomicU32::new(0),
            last: [const { AtomicU64::new(0) }; 2],
        }))
    }

    /// The part of another component.
    #[must_use]
    pub fn share(&self) -> ComponentShare {
        let number = self.0.components.fetch_add(1, Ordering::Relaxed) + 1;
        ComponentShare(Arc::new(ShareState {
            workers: self.0.clone(),
            number,
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            free: Notify::new(),
            long_until: AtomicU64::new(0),
        }))
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

impl ShareState {
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

    /// Whether a guest of another component has run of late.
    fn has_company(&self) -> bool {
        let now = self.workers.now();
        self.workers.last.iter().map(|it| it.load(Ordering::Relaxed)).any(|stamp| {
            let age = Duration::from_millis(now.wrapping_sub(millis(stamp)).into());
            number(stamp) != 0 && number(stamp) != self.number && age <= COMPANY
        })
    }

    /// Microseconds since the start.
    fn micros(&self) -> u64 {
        micros(self.workers.born.elapsed())
    }

    /// Whether its guests have been polled for long of late.
    fn is_long(&self) -> bool {
        let until = self.long_until.load(Ordering::Relaxed);
        until > 0 && self.micros() < until
    }

    /// Takes a slot if there is one.
    fn take(&self) -> bool {
        let workers = self.workers.count;
        let slots = if self.has_company() { workers / 2 } else { workers }.max(1);
        let more = |taken| (taken < slots).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok()
    }

    /// Takes a slot, after those that wait for one already.
    async fn wait(&self) {
        if self.waiting.load(Ordering::Relaxed) == 0 && self.take() {
            return;
        }
        let _waits = Waits::new(&self.waiting);
        // Taken when it is polled, never kept for it: it may not be polled for long, because its client
        // does not read. The next one that is told may be like that too.
        loop {
            drop(timeout(LOOK_AGAIN, self.free.notified()).await);
            if self.take() {
                return;
            }
        }
    }
}

/// Counts one that waits.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl SlotState {
    fn begins(&self, now: Instant) {
        let began = now.duration_since(self.share.0.workers.born);
        self.began.store(micros(began), Ordering::Relaxed);
    }

    /// Whether it has hardly computed yet.
    fn is_harmless(&self) -> bool {
        let now = self.share.0.micros();
        let polled = now.saturating_sub(self.began.load(Ordering::Relaxed));
        self.computed.load(Ordering::Relaxed) + polled <= micros(HARMLESS)
    }

    /// Waits for a slot, and has it.
    async fn get(&self) {
        self.share.0.wait().await;
        self.has_slot.store(true, Ordering::Release);
        if self.share.0.is_long() {
            leave_the_reactor();
        }
    }

    /// Gives its slot back, if it has one, behind everything that is ready and the reactor. The guest that
    /// is told of a slot is ready at once: a worker that went from one guest to the next would never come
    /// to anything else. In a task of its own, because this guest may not be polled again.
    fn end(&self) {
        if !self.has_slot.swap(false, Ordering::AcqRel) {
            return;
        }
        let share = self.share.clone();
        let give_back = async move {
            yield_now().await;
            share.0.taken.fetch_sub(1, Ordering::AcqRel);
            share.0.free.notify_one();
        };
        // Without a runtime no guest waits for it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(give_back);
        }
    }
}

/// Has another worker wait for the reactor. The one that has come from it does so itself, but not before
/// this poll is over, and wakes nobody: for so long no request would be read. Of two tasks that do
/// nothing the first wakes somebody; a single one waits for this worker.
fn leave_the_reactor() {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async {});
        runtime.spawn(async {});
    }
}

impl Drop for SlotState {
    fn drop(&mut self) {
        self.end();
    }
}

impl CpuSlot {
    pub(crate) fn new(share: &ComponentShare) -> Self {
        Self(Arc::new(SlotState {
            share: share.clone(),
            has_slot: AtomicBool::new(false),
            computed: AtomicU64::new(0),
            began: AtomicU64::new(0),
            polled: AtomicBool::new(false),
            gives_way: AtomicBool::new(false),
        }))
    }

    /// To be asked before each [poll](Self::poll): whether the guest may be polled. One of a component
    /// whose guests cannot be stopped for long has to have a slot first. `wait` is where it waits.
    pub(crate) fn poll_slot(&self, wait: &mut SlotWait, cx: &mut Context<'_>) -> Poll<()> {
        let slot = &self.0;
        if wait.is_none() {
            let waits_itself = slot.gives_way.load(Ordering::Acquire);
            if waits_itself || slot.has_slot.load(Ordering::Acquire) || !slot.share.0.is_long() {
                return Poll::Ready(());
            }
            let slot = slot.clone();
            *wait = Some(Box::pin(async move { slot.get().await }));
        }
        if let Some(waits) = wait {
            ready!(waits.as_mut().poll(cx));
        }
        *wait = None;
        Poll::Ready(())
    }

    /// Polls a guest: when that is over, so is its slot. Gives the CPU time that it took, too.
    pub(crate) fn poll<T>(&self, poll: impl FnOnce() -> T) -> (T, Duration) {
        let cost = CpuTimer::begin();
        self.0.share.0.runs();
        self.0.begins(cost.began());
        let outer = self.0.polled.swap(true, Ordering::Relaxed);
        let polled = poll();
        self.0.polled.store(outer, Ordering::Relaxed);
        self.0.end();
        let took = cost.end();
        self.0.computed.fetch_add(micros(took), Ordering::Relaxed);
        if took > LONG {
            let part = &self.0.share.0;
            part.long_until.store(part.micros() + micros(LONG_LASTS), Ordering::Relaxed);
        }
        (polled, took)
    }

    /// Another exchange begins.
    pub(crate) fn renew(&self) {
        self.0.computed.store(0, Ordering::Relaxed);
    }

    /// Gives way to others, for as long as it takes. To be asked for from within [`Self::poll`]; one
    /// that is not, the trial of a load, gives way to what is ready and has no need of a slot.
    pub(crate) fn give_way(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let slot = &self.0;
        if !slot.polled.load(Ordering::Relaxed) {
            return Box::pin(yield_now());
        }
        slot.end();
        if slot.is_harmless() {
            return Box::pin(yield_now());
        }
        let slot = slot.clone();
        slot.gives_way.store(true, Ordering::Release);
        Box::pin(async move {
            // tokio's yield lets the reactor be polled.
            yield_now().await;
            slot.get().await;
            slot.gives_way.store(false, Ordering::Release);
        })
    }
}

impl fmt::Debug for CpuScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuScheduler").field("workers", &self.0.count).finish_non_exhaustive()
    }
}

impl fmt::Debug for ComponentShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentShare").field("number", &self.0.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "cpu_scheduler_tests.rs"]
mod tests;
