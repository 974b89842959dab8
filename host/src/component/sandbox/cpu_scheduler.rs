//! CPU slots for guests that compute. However many guests of a component compute without pause, no more of
//! them stand in tokio's queue than there are workers, and half as many while other components have work.
//!
//! A guest that a tick has stopped yields: first to all ready tasks and to the reactor, then to the guests
//! of its component that wait for a slot, and then takes a slot to go on. So a task of another component, a
//! new connection or a timer waits for the few guests with a slot, not for all that compute. A short guest
//! that a tick happens to stop needs no slot. If ticks cannot stop the guests of a component for long, those
//! guests take their slots before they are polled.

use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use host_telemetry::ComponentUsage;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::company::Company;
use super::cpu_time::PollTimer;
use crate::component::tick::TickCounter;

/// A component notes that it runs when its last note is so many ticks old: all workers look where it is written.
const NOTE_AGAIN: u64 = 10;

/// No tick: before the first one that counts.
const NEVER: u64 = u64::MAX;

/// A guest that waits for a slot and is not woken looks this often.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A guest that a tick stops and that has computed for no longer in its exchange is short, was stopped by
/// chance, and goes on without a slot. A fifth of a tick: a fifth of the guests that compute for ever go on
/// like that too, once.
const HARMLESS: Duration = Duration::from_millis(2);

/// A tick did not stop a poll that takes longer: it ran an instruction that writes all of a memory, say, or
/// host code for the guest. Three ticks, because one may come late.
const LONG: Duration = Duration::from_millis(30);

/// For this long after such a poll, guests of the component take their slots before they are polled. Longer
/// than the pause between two requests.
const LONG_LASTS: Duration = Duration::from_secs(10);

/// The workers of a process, shared by its components. Cheap to clone.
#[derive(Clone)]
pub struct CpuScheduler(Arc<Workers>);

struct Workers {
    count: usize,
    born: Instant,
    ticks: TickCounter,
    components: AtomicU32,
    company: Company,
}

/// One component's share of the workers. Cheap to clone; clones are one share.
#[derive(Clone)]
pub struct ComponentShare(Arc<ShareHandle>);

/// Alone in its cache lines, because each instance counts a reference.
#[repr(align(128))]
struct ShareHandle(Arc<ShareState>);

struct ShareState {
    workers: Arc<Workers>,
    number: u32,
    /// The tick of its last note, or [`NEVER`].
    noted: AtomicU64,
    /// Slots that guests of this component hold.
    taken: AtomicUsize,
    /// Guests that wait for a slot.
    waiting: AtomicUsize,
    /// A slot has been given back.
    free: Notify,
    /// Until then polls of its guests count as long, in microseconds of the workers' life.
    long_until: AtomicU64,
    usage: Arc<ComponentUsage>,
}

/// The wait of a guest's poller for its slot.
pub(crate) type SlotWait = Option<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// An instance's slot, if it has one. Shared by its store and by the task that polls it.
#[derive(Clone)]
pub(crate) struct CpuSlot(Arc<SlotState>);

struct SlotState {
    share: ComponentShare,
    has_slot: AtomicBool,
    /// Microseconds that it has been polled for in this exchange, without the poll under way.
    computed: AtomicU64,
    /// The beginning of the poll under way, in microseconds of the workers' life.
    began: AtomicU64,
    /// The tick in which the poll under way began, or [`NEVER`].
    polled_in: AtomicU64,
    /// It is polled through [`CpuSlot::poll`], which gives its slot back.
    polled: AtomicBool,
    /// A tick has ended its last poll.
    stopped: AtomicBool,
    /// It yields, and will have a slot when it goes on.
    gives_way: AtomicBool,
}

impl CpuScheduler {
    /// A scheduler for this many worker threads, whose guests `ticks` stop.
    #[must_use]
    pub fn new(workers: usize, ticks: &TickCounter) -> Self {
        Self(Arc::new(Workers {
            count: workers,
            born: Instant::now(),
            ticks: ticks.clone(),
            components: AtomicU32::new(0),
            company: Company::default(),
        }))
    }

    /// The share of another component, whose CPU time is counted in `usage`.
    #[must_use]
    pub fn share(&self, usage: Arc<ComponentUsage>) -> ComponentShare {
        let number = self.0.components.fetch_add(1, Ordering::Relaxed) + 1;
        let state = ShareState {
            workers: self.0.clone(),
            number,
            noted: AtomicU64::new(NEVER),
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            free: Notify::new(),
            long_until: AtomicU64::new(0),
            usage,
        };
        ComponentShare(Arc::new(ShareHandle(Arc::new(state))))
    }
}

impl ComponentShare {
    /// The same share for another worker.
    pub(crate) fn for_worker(&self) -> Self {
        Self(Arc::new(ShareHandle(self.0.0.clone())))
    }
}

impl Deref for ShareHandle {
    type Target = ShareState;

    fn deref(&self) -> &ShareState {
        &self.0
    }
}

impl ShareState {
    /// Notes, now and then, that a guest of this component runs.
    fn runs(&self, tick: u64) {
        let noted = self.noted.load(Ordering::Relaxed);
        if noted == NEVER || tick.wrapping_sub(noted) >= NOTE_AGAIN {
            self.noted.store(tick, Ordering::Relaxed);
            self.workers.company.note(self.number, tick);
        }
    }

    /// Whether guests of another component run too.
    fn has_company(&self) -> bool {
        self.workers.company.has_other(self.number, self.workers.ticks.now())
    }

    /// Microseconds since the start.
    fn micros(&self) -> u64 {
        micros(self.workers.born.elapsed())
    }

    /// Whether its guests have had a long poll within [`LONG_LASTS`].
    fn is_long(&self) -> bool {
        let until = self.long_until.load(Ordering::Relaxed);
        until > 0 && self.micros() < until
    }

    /// Takes a slot if one is free.
    fn take(&self) -> bool {
        let workers = self.workers.count;
        let slots = if self.has_company() { workers / 2 } else { workers }.max(1);
        let more = |taken| (taken < slots).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok()
    }

    /// Takes a slot, after the guests that already wait for one.
    async fn wait(&self) {
        if self.waiting.load(Ordering::Relaxed) == 0 && self.take() {
            return;
        }
        let _waits = Waits::new(&self.waiting);
        // A slot is taken in the poll, never reserved for a guest: a guest may not be polled for long, because
        // its client does not read. The next guest that is woken may be like that too.
        loop {
            drop(timeout(LOOK_AGAIN, self.free.notified()).await);
            if self.take() {
                return;
            }
        }
    }
}

/// Counts one waiting guest.
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
    /// A poll begins.
    fn begins(&self) -> PollTimer<'_> {
        let workers = &self.share.0.workers;
        let timer = PollTimer::begin(&workers.ticks);
        self.polled_in.store(timer.tick(), Ordering::Relaxed);
        self.stopped.store(false, Ordering::Release);
        let began = timer.began().duration_since(workers.born);
        self.began.store(micros(began), Ordering::Relaxed);
        timer
    }

    /// Whether it has hardly computed yet.
    fn is_harmless(&self) -> bool {
        let now = self.share.0.micros();
        let polled = now.saturating_sub(self.began.load(Ordering::Relaxed));
        self.computed.load(Ordering::Relaxed) + polled <= micros(HARMLESS)
    }

    /// Waits for a slot and takes it.
    async fn get(&self) {
        self.share.0.wait().await;
        self.has_slot.store(true, Ordering::Release);
        if self.share.0.is_long() {
            leave_the_reactor();
        }
    }

    /// Gives its slot back, if it has one, after all ready tasks and the reactor. The guest that is woken for
    /// the slot is ready at once, so a worker would go from one guest to the next and run nothing else. The
    /// slot is given back in a task of its own, because this guest may not be polled again.
    fn end(&self) {
        // Most have none, and a look costs less than a swap.
        if !self.has_slot.load(Ordering::Acquire) || !self.has_slot.swap(false, Ordering::AcqRel) {
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

/// Makes another worker wait for the reactor. The worker that has come from the reactor waits there again
/// only after this poll, and wakes no other worker, so for that long no request would be read. Of two tasks
/// that do nothing the first wakes a worker; a single task would wait for this worker.
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
            polled_in: AtomicU64::new(NEVER),
            polled: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            gives_way: AtomicBool::new(false),
        }))
    }

    /// Whether the guest may be polled; ask before each [poll](Self::poll). A guest of a component that ticks
    /// cannot stop for long has to take a slot first. `wait` holds its wait.
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

    /// Polls a guest, and ends its slot with the poll. Also returns the [CPU time](super::cpu_time) that the poll
    /// took. Only one task polls a guest, so plain loads and stores do.
    pub(crate) fn poll<T>(&self, poll: impl FnOnce() -> T) -> (T, Duration) {
        let slot = &*self.0;
        let timer = slot.begins();
        slot.share.0.runs(timer.tick());
        let outer = slot.polled.load(Ordering::Relaxed);
        slot.polled.store(true, Ordering::Relaxed);
        let polled = poll();
        slot.polled.store(outer, Ordering::Relaxed);
        slot.end();
        let took = timer.end();
        slot.share.0.usage.spend(took);
        let computed = slot.computed.load(Ordering::Relaxed);
        slot.computed.store(computed.saturating_add(micros(took)), Ordering::Relaxed);
        if took > LONG {
            let part = &slot.share.0;
            part.long_until.store(part.micros() + micros(LONG_LASTS), Ordering::Relaxed);
        }
        (polled, took)
    }

    /// Whether a tick has stopped the guest, which has to go on.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Acquire) || self.0.gives_way.load(Ordering::Acquire)
    }

    /// Another exchange begins.
    pub(crate) fn renew(&self) {
        self.0.computed.store(0, Ordering::Relaxed);
    }

    /// Whether a tick has passed since its poll began. A guest that has waited for longer than a tick finds one at
    /// its first instruction, and has computed nothing since.
    pub(crate) fn is_met_by_a_tick(&self) -> bool {
        self.0.polled_in.load(Ordering::Relaxed) != self.0.share.0.workers.ticks.now()
    }

    /// Yields to others for as long as it takes. Call it from within [`Self::poll`]. Outside of it, as in the
    /// trial of a load, it yields to ready tasks and needs no slot.
    pub(crate) fn give_way(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let slot = &self.0;
        if !slot.polled.load(Ordering::Relaxed) {
            return Box::pin(yield_now());
        }
        slot.end();
        slot.stopped.store(true, Ordering::Release);
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
