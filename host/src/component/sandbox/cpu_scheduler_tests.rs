use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Wake, Waker};

use super::*;

const GUESTS: usize = 50;

impl ComponentShare {
    /// Its guests have to take their slots before they are polled, from now on.
    pub(crate) fn have_long_polls(&self) {
        self.0.long_until.store(u64::MAX, Ordering::Relaxed);
    }
}

/// The slot of a guest that has computed for long enough to need it.
fn slot_of_one_that_computes(share: &ComponentShare) -> CpuSlot {
    let slot = CpuSlot::new(share);
    slot.0.computed.store(micros(HARMLESS) + 1, Ordering::Relaxed);
    slot
}

fn scheduler(workers: usize) -> CpuScheduler {
    CpuScheduler::new(workers, &TickCounter::default())
}

/// Polls a guest to its end, in its slots.
async fn drive<T>(slot: &CpuSlot, guest: impl Future<Output = T>) -> T {
    let (mut guest, mut wait) = (pin!(guest), None);
    poll_fn(|cx| {
        ready!(slot.poll_slot(&mut wait, cx));
        slot.poll(|| guest.as_mut().poll(cx)).0
    })
    .await
}

/// Guests that compute for ever, in a queue of the test's own. The tests see when guests need slots, not
/// the order in which a runtime polls its tasks.
struct Spinning {
    guests: Vec<(Guest, Waker)>,
    ready: Arc<Mutex<VecDeque<usize>>>,
    /// How often each has computed until a tick stopped it.
    slices: Vec<Arc<AtomicUsize>>,
}

type Guest = Pin<Box<dyn Future<Output = ()>>>;

/// Puts a guest into the queue.
struct Enqueue {
    guest: usize,
    ready: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for Enqueue {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().unwrap();
        if !ready.contains(&self.guest) {
            ready.push_back(self.guest);
        }
    }
}

impl Spinning {
    fn new(share: &ComponentShare) -> Self {
        let ready = Arc::new(Mutex::new((0..GUESTS).collect::<VecDeque<_>>()));
        let slices: Vec<_> = (0..GUESTS).map(|_| Arc::new(AtomicUsize::new(0))).collect();
        let guests = (0..GUESTS).map(|guest| {
            let (slot, slices) = (slot_of_one_that_computes(share), slices[guest].clone());
            let computes: Guest = Box::pin(async move {
                let computes = async {
                    loop {
                        slices.fetch_add(1, Ordering::Relaxed);
                        slot.give_way().await;
                    }
                };
                drive(&slot, computes).await;
            });
            (computes, Waker::from(Arc::new(Enqueue { guest, ready: ready.clone() })))
        });
        Self { guests: guests.collect(), ready, slices }
    }

    fn slices(&self) -> usize {
        self.slices.iter().map(|slices| slices.load(Ordering::Relaxed)).sum()
    }

    /// Polls each ready guest once, and returns how many have computed.
    async fn round(&mut self) -> usize {
        let before = self.slices();
        let ready = std::mem::take(&mut *self.ready.lock().unwrap());
        for guest in ready {
            let (guest, waker) = &mut self.guests[guest];
            assert!(guest.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
        yield_now().await;
        self.slices() - before
    }

    /// The most guests that a task of `neighbour` waits for, while each guest computes `times` times on average.
    async fn most_in_a_round(&mut self, neighbour: &ComponentShare, times: usize) -> usize {
        let (mut most, end) = (0, self.slices() + times * GUESTS);
        for _ in 0..100 * times * GUESTS {
            if self.slices() >= end {
                return most;
            }
            neighbour.0.runs(0);
            most = most.max(self.round().await);
        }
        panic!("they stand: {} slices of {end}", self.slices());
    }
}

/// All guests once stood in the queue, because a guest was held back only if it had computed for half a tick
/// and others had run within 50 ms. A neighbour with less traffic did not count.
#[tokio::test(start_paused = true)]
async fn a_task_waits_for_a_few_guests_that_compute_and_not_for_all() {
    let scheduler = scheduler(4);
    let (share, other) = (scheduler.share(Arc::default()), scheduler.share(Arc::default()));
    let mut spinning = Spinning::new(&share);
    // The scheduler does not know that a guest computes before it has done so.
    spinning.most_in_a_round(&share, 2).await;
    let alone = spinning.most_in_a_round(&share, 10).await;
    assert!((1..=4).contains(&alone), "all workers for one that is alone: {alone}");
    let beside = spinning.most_in_a_round(&other, 10).await;
    assert!((1..=2).contains(&beside), "half of them beside others: {beside}");
    for slices in &spinning.slices {
        let slices = slices.load(Ordering::Relaxed);
        assert!((11..=44).contains(&slices), "{slices}, and 22 on average");
    }
}

/// Each poll of each guest wrote where all workers look.
#[test]
fn a_component_notes_now_and_then_that_it_runs() {
    let ticks = TickCounter::default();
    let scheduler = CpuScheduler::new(2, &ticks);
    let (share, other) = (scheduler.share(Arc::default()), scheduler.share(Arc::default()));
    for run in 0..=2 * NOTE_AGAIN {
        other.0.runs(ticks.now());
        let noted = other.0.noted.load(Ordering::Relaxed);
        assert_eq!(noted, run / NOTE_AGAIN * NOTE_AGAIN);
        assert!(share.0.has_company() && !other.0.has_company());
        ticks.advance();
    }
}

/// A guest whose client reads nothing is not polled, whether it has a slot, waits for one, or was woken for
/// one.
#[tokio::test(start_paused = true)]
async fn a_guest_that_is_not_polled_keeps_no_slot() {
    let share = scheduler(1).share(Arc::default());
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

/// A tick stops one in fifty short guests. Each of those waited for a slot behind the others, and there were
/// too few slots: of requests through a chain of three plugins the slowest hundredth took 330 ms instead of
/// 50.
#[tokio::test(start_paused = true)]
async fn a_short_guest_that_a_tick_meets_waits_for_no_slot() {
    let ticks = TickCounter::default();
    let share = CpuScheduler::new(1, &ticks).share(Arc::default());
    assert!(share.0.take(), "another guest computes all the while");
    let short = CpuSlot::new(&share);
    drive(&short, async {
        ticks.advance();
        tokio::time::advance(HARMLESS).await;
        short.give_way().await;
    })
    .await;
    let began = Instant::now();
    let needs_one = async || {
        let waits = drive(&short, async {
            ticks.advance();
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

/// A guest that had waited for more than a tick gave way before its first instruction.
#[test]
fn a_tick_that_has_passed_while_a_guest_waited_does_not_meet_it() {
    let ticks = TickCounter::default();
    let slot = CpuSlot::new(&CpuScheduler::new(1, &ticks).share(Arc::default()));
    assert!(slot.is_met_by_a_tick(), "nothing is known of one that is not polled through its slot");
    for _ in 0..2 {
        ticks.advance();
        slot.poll(|| assert!(!slot.is_met_by_a_tick()));
    }
    slot.poll(|| {
        ticks.advance();
        assert!(slot.is_met_by_a_tick());
    });
}

/// The first poll of a guest needed no slot. Thirty guests that each write 110 MiB in one instruction held
/// all workers one after the other, and a neighbour's request took seconds.
#[tokio::test(start_paused = true)]
async fn guests_with_long_polls_are_polled_only_with_a_slot() {
    let scheduler = scheduler(2);
    let (share, other) = (scheduler.share(Arc::default()), scheduler.share(Arc::default()));
    let is_let_in = |slot: &CpuSlot, wait: &mut SlotWait| {
        slot.poll_slot(wait, &mut Context::from_waker(Waker::noop())).is_ready()
    };
    let [first, second, third] = [(); 3].map(|()| CpuSlot::new(&share));
    assert!(is_let_in(&first, &mut None), "no long poll yet");
    share.0.long_until.store(share.0.micros() + micros(LONG_LASTS), Ordering::Relaxed);
    other.0.runs(0);
    let (mut waits, mut waits_too) = (None, None);
    assert!(is_let_in(&first, &mut None), "one of two workers");
    assert!(!is_let_in(&second, &mut waits), "the other one is for the neighbour");
    assert!(is_let_in(&CpuSlot::new(&other), &mut None));
    first.poll(|| ());
    // Its slot is given back after all ready tasks.
    let mut rounds = 0..100;
    while !is_let_in(&second, &mut waits) {
        assert!(rounds.next().is_some(), "its slot is not given back");
        yield_now().await;
    }
    assert!(is_let_in(&second, &mut waits), "it has its slot until it is polled");
    assert!(!is_let_in(&third, &mut waits_too));
    tokio::time::advance(LONG_LASTS).await;
    assert!(is_let_in(&CpuSlot::new(&share), &mut None), "long ago");
}

/// It would wait for two slots, its own and its poller's, where there is only one.
#[tokio::test(start_paused = true)]
async fn a_guest_that_yields_is_polled_before_it_has_a_slot() {
    let share = scheduler(1).share(Arc::default());
    share.have_long_polls();
    for slot in [slot_of_one_that_computes(&share), CpuSlot::new(&share)] {
        let gives_way = drive(&slot, async {
            for _ in 0..3 {
                slot.give_way().await;
            }
        });
        assert!(timeout(10 * LOOK_AGAIN, gives_way).await.is_ok());
    }
}
