//! Instances that serve more than one exchange: an operator's choice, off by default.
//!
//! ```text
//! exchange ─→ Crew::lend ─→ Lease ─→ Job ─→ worker (one task, one store)
//!                 ▲                            │
//!                 └──── seat given back ◄──────┘
//! ```
//!
//! A worker is a task of its own, because an instance may serve several exchanges at once (0.3) and
//! outlives each of them. What is said of exchanges stays true: dropping a lease halfway ends the
//! guest, unless others are being served by the same instance; then it takes no new ones and ends
//! with the last of them. A crew belongs to one generation, so no state crosses from one to another.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use host_manifest::ReuseConfig;
use http::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::coop::unconstrained;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::WasiBody;

use super::generation::{Blueprint, Entry};
use super::instance::{GuestFailure, Head, Release, Running};
use super::state::Identity;
use super::turns::Turn;
use super::{Grants, worker};

/// Keeps a stop waiting for as long as what it gives lives: an instance that outlives its exchange
/// is in flight too.
#[derive(Clone)]
pub struct Keeper(Arc<dyn Fn(String) -> Box<dyn Any + Send> + Send + Sync>);

impl Keeper {
    /// `keep` is given what the log calls the instance.
    pub fn new(keep: impl Fn(String) -> Box<dyn Any + Send> + Send + Sync + 'static) -> Self {
        Self(Arc::new(keep))
    }

    /// Keeps nothing waiting.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| Box::new(()))
    }

    /// Keeps a stop waiting until what comes back is dropped.
    #[must_use]
    pub fn keep(&self, what: String) -> Box<dyn Any + Send> {
        (self.0)(what)
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

/// Room for instances of all components that wait to be used again: the pool has as much for them as
/// for those that serve, so that they take no room from these. Cheap to clone.
#[derive(Clone, Debug)]
pub struct IdleRoom(Arc<Semaphore>);

impl IdleRoom {
    /// For so many.
    #[must_use]
    pub fn new(instances: usize) -> Self {
        Self(Arc::new(Semaphore::new(instances)))
    }
}

/// The reusable instances of one generation. Dropping it lets idle ones end.
pub(super) struct Crew {
    blueprint: Arc<Blueprint>,
    identity: Identity,
    reuse: ReuseConfig,
    /// Seats that can take one exchange more. The lock is held for a few instructions.
    free: Mutex<Vec<Arc<Seat>>>,
}

/// One instance, seen from outside. Its worker ends when nobody holds its seat any more.
pub(super) struct Seat {
    jobs: mpsc::UnboundedSender<Job>,
    /// Changed under the crew's lock only.
    active: AtomicU32,
    begun: AtomicU32,
    broken: AtomicBool,
    shared: Arc<Shared>,
}

/// What a worker and its seat have in common.
#[derive(Default)]
pub(super) struct Shared {
    /// Ends the worker at once.
    pub(super) kill: CancellationToken,
    /// The worker has ended.
    pub(super) ended: CancellationToken,
    /// Why it ended, if not in order.
    pub(super) failure: OnceLock<GuestFailure>,
    /// The guest wants the process to stop.
    pub(super) shutdown: Arc<AtomicBool>,
    pub(super) meter: Meter,
    /// Held from the end of an exchange to the next one, or to the end of the instance. Changed under
    /// the crew's lock only.
    room: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Shared {
    /// Whether the instance may wait for its next exchange.
    fn finds_room(&self, idle: &IdleRoom) -> bool {
        let mut room = self.room();
        if room.is_none() {
            *room = idle.0.clone().try_acquire_owned().ok();
        }
        room.is_some()
    }

    fn room(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the process if the guest asked for it and may.
    pub(super) fn pass_on_wish(&self, grants: &Grants) {
        let asked = self.shutdown.swap(false, Ordering::Relaxed);
        if let (true, Some(grant)) = (asked, &grants.request_shutdown) {
            grant.use_it();
        }
    }
}

/// CPU time of an instance: each exchange brings its own.
#[derive(Debug, Default)]
pub(super) struct Meter {
    spent: AtomicU64,
    allowed: AtomicU64,
}

impl Meter {
    /// An exchange begins; `alone` if no other is being served.
    pub(super) fn allow(&self, more: Duration, alone: bool) {
        let base = if alone { &self.spent } else { &self.allowed };
        let allowed = base.load(Ordering::Relaxed).saturating_add(nanos(more));
        self.allowed.store(allowed, Ordering::Relaxed);
    }

    /// An exchange has ended and `left` are being served: what it did not use is not theirs, beyond
    /// what each of them brought.
    pub(super) fn bound(&self, each: Duration, left: usize) {
        let each = nanos(each).saturating_mul(left.max(1) as u64);
        let most = self.spent.load(Ordering::Relaxed).saturating_add(each);
        self.allowed.fetch_min(most, Ordering::Relaxed);
    }

    /// Takes note of time; false when it is used up.
    pub(super) fn spend(&self, time: Duration) -> bool {
        let spent = self.spent.fetch_add(nanos(time), Ordering::Relaxed) + nanos(time);
        spent <= self.allowed.load(Ordering::Relaxed)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// One exchange, on its way to a worker.
pub(super) struct Job {
    pub(super) order: Order,
    /// Told when the guest has nothing more to do for it. Dropped, before the store is, when the
    /// instance is lost: so who finds a body ended can tell whether the guest ended it.
    pub(super) done: oneshot::Sender<Result<(), Lost>>,
}

/// What an instance needs to know of an exchange.
pub(super) struct Order {
    pub(super) request: Request<WasiBody>,
    pub(super) head: oneshot::Sender<Head>,
    pub(super) released: Release,
}

/// An exchange that its instance did not serve to the end.
pub(super) enum Lost {
    Failed(GuestFailure),
    /// The instance ended before it began with it: another may.
    Unserved(Box<Order>),
}

/// The right to one exchange on an instance. Dropping it gives the seat back, or breaks the seat if
/// the guest was not done.
struct Lease {
    crew: Arc<Crew>,
    seat: Arc<Seat>,
    done: bool,
}

impl Crew {
    pub(super) fn new(
        blueprint: Arc<Blueprint>,
        identity: Identity,
        reuse: ReuseConfig,
    ) -> Arc<Self> {
        let concurrency = match blueprint.code.entry {
            // A 0.2 instance runs one call at a time.
            Entry::P2(_) => 1,
            Entry::P3(_) => reuse.concurrency.max(1),
        };
        let reuse = ReuseConfig { concurrency, ..reuse };
        Arc::new(Self { blueprint, identity, reuse, free: Mutex::default() })
    }

    /// Serves one request on an instance that has served before, or on a new one.
    pub(super) fn start(self: &Arc<Self>, request: Request<WasiBody>) -> Running {
        let (send, head) = oneshot::channel();
        let release = Release::default();
        let released = release.clone();
        let mut order = Order { request, head: send, released: release.clone() };
        let crew = self.clone();
        let guest = async move {
            loop {
                let mut lease = crew.clone().lend();
                match lease.serve(order).await {
                    Ok(()) => {
                        lease.done = true;
                        return Ok(lease.end(&released).await);
                    }
                    Err(Lost::Failed(why)) => return Err(why.into()),
                    // Each time a seat is gone for good, and a new instance that fails before it
                    // begins is no longer of this kind: so this ends.
                    Err(Lost::Unserved(again)) => order = *again,
                }
            }
        };
        // The worker meters the guest itself.
        Running::new(Box::pin(guest), head, Duration::MAX, release, None)
    }

    fn free(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lend(self: Arc<Self>) -> Lease {
        let seat = self.take_free().unwrap_or_else(|| self.hire());
        Lease { crew: self, seat, done: false }
    }

    /// The seat that was given back last, because its memory is warm.
    fn take_free(&self) -> Option<Arc<Seat>> {
        if self.identity.fate.is_ending() {
            return None;
        }
        let mut free = self.free();
        let seat = free.last()?.clone();
        seat.take();
        if !seat.has_room(&self.reuse) {
            free.pop();
        }
        Some(seat)
    }

    /// A seat with a new instance, taken once.
    fn hire(self: &Arc<Self>) -> Arc<Seat> {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let seat = Arc::new(Seat {
            jobs,
            active: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            broken: AtomicBool::new(false),
            shared: shared.clone(),
        });
        let post = Post { crew: Arc::downgrade(self), seat: Arc::downgrade(&seat) };
        seat.take();
        // Before the worker lives: it withdraws the seat when its generation ends.
        if seat.has_room(&self.reuse) {
            self.free().push(seat.clone());
        }
        worker::spawn(worker::Worker {
            blueprint: self.blueprint.clone(),
            identity: self.identity.clone(),
            idle: self.reuse.idle,
            jobs: inbox,
            shared,
            post,
            born: false,
        });
        seat
    }

    /// Whether an instance ends with the exchange that it is serving.
    fn is_last(&self, seat: &Arc<Seat>) -> bool {
        let mut free = self.free();
        let alone = seat.active.load(Ordering::Relaxed) == 1;
        if alone {
            self.find_room(&mut free, seat);
        }
        let used_up = seat.begun.load(Ordering::Relaxed) >= self.reuse.exchanges;
        drop(free);
        alone && (used_up || self.identity.fate.is_ending())
    }

    /// Finds room for an instance to wait in. One that finds none is used up: it ends in order, and
    /// another is made when it is wanted.
    fn find_room(&self, free: &mut Vec<Arc<Seat>>, seat: &Arc<Seat>) {
        if !seat.shared.finds_room(&self.blueprint.settings.idle) {
            seat.begun.store(self.reuse.exchanges, Ordering::Relaxed);
            free.retain(|other| !Arc::ptr_eq(other, seat));
        }
    }

    fn give_back(&self, seat: &Arc<Seat>, whole: bool) {
        let mut free = self.free();
        let had_room = seat.has_room(&self.reuse);
        let left = seat.active.fetch_sub(1, Ordering::Relaxed) - 1;
        if !whole {
            seat.broken.store(true, Ordering::Relaxed);
            free.retain(|other| !Arc::ptr_eq(other, seat));
        }
        if seat.broken.load(Ordering::Relaxed) {
            if left == 0 {
                seat.shared.kill.cancel();
            }
            return;
        }
        if left == 0 {
            self.find_room(&mut free, seat);
        }
        let is_new_room = !had_room && seat.has_room(&self.reuse);
        if is_new_room && !self.identity.fate.is_ending() {
            free.push(seat.clone());
        }
    }
}

impl Seat {
    fn take(&self) {
        *self.shared.room() = None;
        self.active.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    fn has_room(&self, reuse: &ReuseConfig) -> bool {
        self.active.load(Ordering::Relaxed) < reuse.concurrency
            && self.begun.load(Ordering::Relaxed) < reuse.exchanges
            && !self.broken.load(Ordering::Relaxed)
    }
}

impl Lease {
    /// Gives what is to be kept until the answer has been delivered. The last exchange of an
    /// instance waits for its last words too, so that they hold its place among the instances.
    async fn end(self, released: &Release) -> Box<dyn Any + Send> {
        if !self.crew.blueprint.code.hooks.has_shutdown() || !self.crew.is_last(&self.seat) {
            return Box::new(self);
        }
        released.mark_returned();
        poll_fn(|cx| released.poll(cx)).await;
        let shared = self.seat.shared.clone();
        drop(self);
        shared.ended.cancelled().await;
        Box::new(())
    }

    async fn serve(&self, order: Order) -> Result<(), Lost> {
        let (done, outcome) = oneshot::channel();
        if let Err(mpsc::error::SendError(Job { order, .. })) =
            self.seat.jobs.send(Job { order, done })
        {
            return Err(Lost::Unserved(Box::new(order)));
        }
        // What it says decides whether a message is whole, so it may not be put off to the task's
        // next turn.
        let outcome = unconstrained(outcome).await;
        outcome.unwrap_or_else(|_| {
            let failure = self.seat.shared.failure.get().cloned();
            Err(Lost::Failed(failure.unwrap_or(GuestFailure::InstanceLost)))
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.crew.give_back(&self.seat, self.done);
        // The answer of the exchange that asked has been delivered.
        self.seat.shared.pass_on_wish(self.crew.blueprint.grants());
    }
}

/// Where a worker is posted. Holds neither.
pub(super) struct Post {
    crew: Weak<Crew>,
    seat: Weak<Seat>,
}

impl Post {
    /// Leaves for good, whatever there is.
    pub(super) fn leave(&self) {
        if let Some(seat) = self.seat.upgrade() {
            seat.broken.store(true, Ordering::Relaxed);
        }
        self.withdraw();
    }

    /// Offers its seat to nobody any more. So it is held by leases only, and gone with the last.
    pub(super) fn withdraw(&self) {
        let (Some(crew), Some(seat)) = (self.crew.upgrade(), self.seat.upgrade()) else { return };
        crew.free().retain(|other| !Arc::ptr_eq(other, &seat));
    }

    /// Leaves for good if no exchange is being served; then none comes any more.
    pub(super) fn leave_if_idle(&self) -> bool {
        let (Some(crew), Some(seat)) = (self.crew.upgrade(), self.seat.upgrade()) else {
            return true;
        };
        let mut free = crew.free();
        let idle = seat.active.load(Ordering::Relaxed) == 0;
        if idle {
            free.retain(|other| !Arc::ptr_eq(other, &seat));
        }
        idle
    }
}

/// Measures what polling `future` costs, and ends it when that is too much.
pub(super) async fn metered<T>(
    shared: &Shared,
    turn: &Turn,
    limit: Duration,
    future: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let (mut future, mut entry) = (std::pin::pin!(future), None);
    poll_fn(|cx| {
        std::task::ready!(turn.poll_enter(&mut entry, cx));
        let (polled, took) = turn.poll(|| future.as_mut().poll(cx));
        let within = shared.meter.spend(took);
        if polled.is_pending() && !within {
            // Before its jobs are dropped with it.
            shared.failure.set(GuestFailure::CpuTime(limit)).ok();
            return std::task::Poll::Ready(Err(GuestFailure::CpuTime(limit).into()));
        }
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exchange_brings_its_own_cpu_time() {
        let meter = Meter::default();
        let second = Duration::from_secs(1);
        meter.allow(second, true);
        assert!(meter.spend(second));
        assert!(!meter.spend(Duration::from_nanos(1)));
        meter.allow(second, true);
        assert!(meter.spend(second), "what the one before used up is not the next one's fault");
        meter.allow(second, true);
        meter.allow(second, false);
        assert!(meter.spend(2 * second), "two at once may use as much as two");
        assert!(!meter.spend(Duration::from_nanos(1)));
        meter.allow(second, true);
        for _ in 0..100 {
            meter.allow(second, false);
            meter.bound(second, 1);
        }
        assert!(meter.spend(second), "of a hundred that overlap, one is left");
        assert!(!meter.spend(Duration::from_nanos(1)), "with what it brought");
    }
}
