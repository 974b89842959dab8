//! CpuScheduler on the workers: however many guests of a component compute without pause, no more of them
//! than there are workers stand in tokio's queue, and half as many while other components have work.
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

/// Who waits for a slot and is not told looks this often.
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
    /// CpuScheduler that guests of this component have.
    taken: AtomicUsize,
    /// Guests that wait for one.
    waiting: AtomicUsize,
    /// Somebody has had a slot.
    free: Notify,
    /// Until when polls of its guests are taken for long ones, in microseconds of the workers' life.
    long_until: AtomicU64,
}

/// Where somebody who is to poll a guest waits for its slot.
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

    /// Takes a slot, after those who wait for one already.
    async fn wait(&self) {
        if self.waiting.load(Ordering::Relaxed) == 0 && self.take() {
            return;
        }
        let _waits = Waits::new(&self.waiting);
        // Taken when it is polled, never kept for it: nobody may poll it for long, because its
        // client does not read. Whoever is told in its place may be such a one too.
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

    /// Gives its slot back, if it has one: not before everything that is ready and the reactor have
    /// had theirs. Whoever is told of a slot is ready at once, so a worker that was handed from one to
    /// the next would never come to them. In a task of its own, because nobody may poll the guest.
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
        // Without a runtime there is nobody who could wait for it.
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
        let seat = &self.0;
        if wait.is_none() {
            let waits_itself = seat.gives_way.load(Ordering::Acquire);
            if waits_itself || seat.has_slot.load(Ordering::Acquire) || !seat.share.0.is_long() {
                return Poll::Ready(());
            }
            let seat = seat.clone();
            *wait = Some(Box::pin(async move { seat.get().await }));
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
        let seat = &self.0;
        if !seat.polled.load(Ordering::Relaxed) {
            return Box::pin(yield_now());
        }
        seat.end();
        if seat.is_harmless() {
            return Box::pin(yield_now());
        }
        let seat = seat.clone();
        seat.gives_way.store(true, Ordering::Release);
        Box::pin(async move {
            // tokio's yield lets the reactor be polled.
            yield_now().await;
            seat.get().await;
            seat.gives_way.store(false, Ordering::Release);
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
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Waker;

    use tokio::task::JoinSet;

    use super::*;

    const GUESTS: usize = 50;

    /// The slot of a guest that has computed for long enough to need one.
    fn slot_of_one_that_computes(share: &ComponentShare) -> CpuSlot {
        let slot = CpuSlot::new(share);
        slot.0.computed.store(micros(HARMLESS) + 1, Ordering::Relaxed);
        slot
    }

    /// Polls a guest to its end in its slots.
    async fn drive<T>(slot: &CpuSlot, guest: impl Future<Output = T>) -> T {
        let (mut guest, mut wait) = (pin!(guest), None);
        poll_fn(|cx| {
            ready!(slot.poll_slot(&mut wait, cx));
            slot.poll(|| guest.as_mut().poll(cx)).0
        })
        .await
    }

    /// Guests that compute for ever: how often each has computed until it was stopped.
    #[derive(Default)]
    struct Spinning {
        guests: JoinSet<()>,
        slices: Vec<Arc<AtomicUsize>>,
    }

    impl Spinning {
        fn of(share: &ComponentShare) -> Self {
            let mut spinning = Self::default();
            for _ in 0..GUESTS {
                let slot = slot_of_one_that_computes(share);
                let slices = Arc::new(AtomicUsize::new(0));
                spinning.slices.push(slices.clone());
                spinning.guests.spawn(async move {
                    let guest = async {
                        loop {
                            slices.fetch_add(1, Ordering::Relaxed);
                            slot.give_way().await;
                        }
                    };
                    drive(&slot, guest).await;
                });
            }
            spinning
        }

        fn slices(&self) -> usize {
            self.slices.iter().map(|it| it.load(Ordering::Relaxed)).sum()
        }

        /// The most of them that have computed between two slots of a neighbour's task, while each
        /// computes ten times on average.
        async fn most_between(&self, neighbour: &ComponentShare) -> usize {
            let (mut most, end) = (0, self.slices() + 10 * GUESTS);
            while self.slices() < end {
                let before = self.slices();
                neighbour.0.runs();
                to_the_end_of_the_queue().await;
                most = most.max(self.slices() - before);
            }
            most
        }
    }

    async fn to_the_end_of_the_queue() {
        let mut was_there = false;
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if std::mem::replace(&mut was_there, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// All of them stood in the queue once, because only one that had computed for half a tick while
    /// others had run within 50 ms was held back: a neighbour came too seldom to count as one.
    #[tokio::test]
    async fn a_task_waits_for_a_few_guests_that_compute_and_not_for_all() {
        let neighbour = tokio::spawn(async {
            let slots = CpuScheduler::new(4);
            let (share, other) = (slots.share(), slots.share());
            let spinning = Spinning::of(&share);
            // Nobody knows of a guest that it computes before it has done so.
            while spinning.slices() < 2 * GUESTS {
                to_the_end_of_the_queue().await;
            }
            let alone = spinning.most_between(&share).await;
            assert!((1..=4).contains(&alone), "all workers for who is alone: {alone}");
            let beside = spinning.most_between(&other).await;
            assert!((1..=2).contains(&beside), "half of them beside others: {beside}");
            for slices in &spinning.slices {
                let slices = slices.load(Ordering::Relaxed);
                assert!((11..=44).contains(&slices), "{slices}, and 22 on average");
            }
        });
        neighbour.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn company_is_remembered_from_one_request_to_the_next() {
        let slots = CpuScheduler::new(2);
        let (share, other) = (slots.share(), slots.share());
        assert!(!share.0.has_company());
        other.0.runs();
        share.0.runs();
        tokio::time::advance(COMPANY).await;
        share.0.runs();
        assert!(share.0.has_company());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!share.0.has_company());
    }

    /// A guest whose client reads nothing is not polled, whether it has a slot, waits for one, or is
    /// told of one.
    #[tokio::test(start_paused = true)]
    async fn a_guest_that_nobody_polls_keeps_no_turn() {
        let share = CpuScheduler::new(1).share();
        let slots = [(); 3].map(|()| slot_of_one_that_computes(&share));
        let mut left: Vec<_> = slots
            .iter()
            .map(|slot| {
                let mut guest = Box::pin(async {
                    loop {
                        slot.give_way().await;
                    }
                });
                let mut cx = Context::from_waker(Waker::noop());
                for _ in 0..3 {
                    assert!(slot.poll(|| guest.as_mut().poll(&mut cx)).0.is_pending());
                }
                guest
            })
            .collect();
        let last = slot_of_one_that_computes(&share);
        drive(&last, async { last.give_way().await }).await;
        left.clear();
        drive(&last, async { last.give_way().await }).await;
    }

    /// One in fifty short guests is met by a tick. Each waited for a slot behind those that had been,
    /// and the slots were too few: of requests through a chain of three plugins the slowest hundredth
    /// took 330 ms instead of 50.
    #[tokio::test(start_paused = true)]
    async fn a_short_guest_that_a_tick_meets_waits_for_no_turn() {
        let share = CpuScheduler::new(1).share();
        assert!(share.0.take(), "somebody else computes all the while");
        let short = CpuSlot::new(&share);
        drive(&short, async {
            tokio::time::advance(HARMLESS).await;
            short.give_way().await;
        })
        .await;
        let began = Instant::now();
        let needs_one = async || {
            let waits = drive(&short, async {
                tokio::time::advance(Duration::from_micros(1)).await;
                short.give_way().await;
            });
            timeout(2 * LOOK_AGAIN, waits).await.is_err()
        };
        assert!(needs_one().await, "it has computed for longer now, in all");
        assert!(began.elapsed() >= 2 * LOOK_AGAIN);
        short.renew();
        assert!(!needs_one().await, "another exchange");
    }

    /// The first poll of a guest was free: thirty that each write 110 MiB in one instruction held all
    /// workers one after the other, and a neighbour's request took seconds.
    #[tokio::test(start_paused = true)]
    async fn of_a_component_that_cannot_be_stopped_for_long_no_guest_is_polled_without_a_turn() {
        let slots = CpuScheduler::new(2);
        let (share, other) = (slots.share(), slots.share());
        let is_let_in = |slot: &CpuSlot, wait: &mut SlotWait| {
            slot.poll_slot(wait, &mut Context::from_waker(Waker::noop())).is_ready()
        };
        let [first, second, third] = [(); 3].map(|()| CpuSlot::new(&share));
        assert!(is_let_in(&first, &mut None), "nobody knows yet");
        share.0.long_until.store(share.0.micros() + micros(LONG_LASTS), Ordering::Relaxed);
        other.0.runs();
        let (mut waits, mut waits_too) = (None, None);
        assert!(is_let_in(&first, &mut None), "one of two workers");
        assert!(!is_let_in(&second, &mut waits), "the other one is for the neighbour");
        assert!(is_let_in(&CpuSlot::new(&other), &mut None));
        first.poll(|| ());
        // Its slot is given back behind everything that is ready.
        for _ in 0..3 {
            to_the_end_of_the_queue().await;
        }
        assert!(is_let_in(&second, &mut waits));
        assert!(is_let_in(&second, &mut waits), "it has its slot until it is polled");
        assert!(!is_let_in(&third, &mut waits_too));
        tokio::time::advance(LONG_LASTS).await;
        assert!(is_let_in(&CpuSlot::new(&share), &mut None), "long ago");
    }

    /// It would wait for two slots, its own and that of whoever polls it, where there is but one.
    #[tokio::test(start_paused = true)]
    async fn a_guest_that_gives_way_is_polled_to_find_its_turn() {
        let share = CpuScheduler::new(1).share();
        share.0.long_until.store(u64::MAX, Ordering::Relaxed);
        for slot in [slot_of_one_that_computes(&share), CpuSlot::new(&share)] {
            let gives_way = drive(&slot, async {
                for _ in 0..3 {
                    slot.give_way().await;
                }
            });
            assert!(timeout(10 * LOOK_AGAIN, gives_way).await.is_ok());
        }
    }
}
