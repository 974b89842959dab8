//! A reusable instance as its pool and its exchanges see it, and the messages to its guest.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Context;
use std::time::Duration;

use host_manifest::ReuseConfig;
use http::Request;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::WasiBody;

use super::cpu_meter::CpuMeter;
use super::idle_room::IdleRoom;
use super::instance::{Head, Release};
use super::shared_guest::SharedGuest;
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::served::ServedExchange;

/// One exchange, on its way to a guest.
pub(crate) struct Job {
    pub(crate) call: GuestCall,
    /// Sent when the guest has no more work for this exchange. Dropped before the store if the instance is
    /// lost, so the reader of an ended body can tell whether the guest ended it.
    pub(crate) done: oneshot::Sender<Result<(), Lost>>,
}

/// The parts of an exchange that an instance needs.
pub(crate) struct GuestCall {
    pub(crate) request: Request<WasiBody>,
    pub(crate) exchange: Option<ServedExchange>,
    pub(crate) head: oneshot::Sender<Head>,
    pub(crate) released: Release,
}

/// Why an instance did not serve an exchange to its end.
pub(crate) enum Lost {
    Failed(GuestFailure),
    /// The instance ended before it began with the exchange. Another instance may serve it.
    Unserved(Box<GuestCall>),
}

/// One instance, seen from outside. It ends in order when the last reference is dropped.
pub(crate) struct PooledInstance {
    guest: Arc<SharedGuest>,
    state: Arc<InstanceState>,
    seats: Mutex<Seats>,
    /// Exchanges that it serves now. Changes only under the lock of its seats.
    active: AtomicU32,
}

/// The exchanges that an instance has begun, and whether it takes more.
pub(crate) struct Seats {
    begun: u32,
    /// It did not serve an exchange to the end, or has ended: it ends with the last exchange on it.
    broken: bool,
    /// It serves those that it has, and takes no other.
    withdrawn: bool,
    /// It is in a list of its pool. It may be taken out of it a moment before this says so.
    pub(crate) listed: bool,
    idle_since: Instant,
}

/// The state that a guest, its task and its exchanges share.
#[derive(Default)]
pub(crate) struct InstanceState {
    /// The instance has ended.
    pub(crate) ended: CancellationToken,
    /// The failure that ended it, if there was one.
    pub(crate) failure: OnceLock<GuestFailure>,
    /// The guest wants the process to stop.
    pub(crate) shutdown: Arc<AtomicBool>,
    pub(crate) meter: CpuMeter,
    inbox: Mutex<Inbox>,
    /// Held from the end of the first exchange to the end of the instance.
    room: OnceLock<OwnedSemaphorePermit>,
}

/// What a guest is told. Whoever puts something in has the guest polled.
#[derive(Default)]
struct Inbox {
    jobs: VecDeque<Box<Job>>,
    /// The instance has been made and started.
    born: bool,
    /// The end of its generation has been decided.
    ending: bool,
    /// No other job comes: nothing holds the instance any more.
    left: bool,
    /// Nothing takes jobs out any more.
    closed: bool,
}

/// What a guest is to do next.
pub(crate) enum Order {
    Serve(Box<Job>),
    /// The end of its generation has been decided. Given until the guest has been notified.
    Notify,
    /// No other job comes.
    End,
}

impl InstanceState {
    /// The next order, if there is one. `notified` says that the guest knows of its end.
    pub(crate) fn next(&self, notified: bool) -> Option<Order> {
        let mut inbox = self.inbox();
        match inbox.jobs.pop_front() {
            Some(job) => Some(Order::Serve(job)),
            None if inbox.ending && !notified => Some(Order::Notify),
            None => inbox.left.then_some(Order::End),
        }
    }

    /// The instance has been made and started.
    pub(crate) fn set_born(&self) {
        self.inbox().born = true;
    }

    /// The end of its generation has been decided.
    pub(crate) fn set_ending(&self) {
        self.inbox().ending = true;
    }

    /// Whether the guest has asked for a stop since the last call.
    pub(crate) fn takes_shutdown_wish(&self) -> bool {
        self.shutdown.load(Ordering::Relaxed) && self.shutdown.swap(false, Ordering::Relaxed)
    }

    /// Takes no more jobs, and gives back those that the guest has not begun.
    pub(crate) fn close(&self) {
        let mut inbox = self.inbox();
        inbox.closed = true;
        let (jobs, born) = (std::mem::take(&mut inbox.jobs), inbox.born);
        drop(inbox);
        for job in jobs {
            let Job { call, done } = *job;
            let lost = if born {
                Lost::Unserved(Box::new(call))
            } else {
                // Another instance would fail the same way.
                Lost::Failed(self.why_lost())
            };
            drop(done.send(Err(lost)));
        }
    }

    /// Why the instance has ended.
    pub(crate) fn why_lost(&self) -> GuestFailure {
        self.failure.get().cloned().unwrap_or(GuestFailure::InstanceLost)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PooledInstance {
    /// An instance with its guest, which has begun nothing.
    pub(crate) fn new(guest: Arc<SharedGuest>, state: Arc<InstanceState>) -> Self {
        let seats = Seats {
            begun: 0,
            broken: false,
            withdrawn: false,
            listed: false,
            idle_since: Instant::now(),
        };
        Self { guest, state, seats: Mutex::new(seats), active: AtomicU32::new(0) }
    }

    pub(crate) fn state(&self) -> &Arc<InstanceState> {
        &self.state
    }

    /// Gives it an exchange. Poll it after that.
    ///
    /// # Errors
    /// Gives the call back if the instance has ended.
    pub(crate) fn push(&self, job: Job) -> Result<(), Box<GuestCall>> {
        let mut inbox = self.state.inbox();
        if inbox.closed {
            return Err(Box::new(job.call));
        }
        inbox.jobs.push_back(Box::new(job));
        drop(inbox);
        self.mark();
        Ok(())
    }

    /// Says that there is something for its guest. Poll it after that.
    pub(crate) fn mark(&self) {
        self.guest.mark();
    }

    /// Whether a poll would poll the guest.
    pub(crate) fn is_woken(&self) -> bool {
        self.guest.is_woken()
    }

    /// Polls its guest for one of its exchanges.
    pub(crate) fn poll(&self, cx: &Context<'_>) {
        self.guest.poll_for_exchange(cx, || self.active.load(Ordering::SeqCst) == 1);
    }

    /// Whether others are served on it and its guest computes for them right now.
    pub(crate) fn is_busy(&self) -> bool {
        self.active.load(Ordering::Relaxed) > 0 && self.guest.is_polled()
    }

    pub(crate) fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an exchange if there is room for one.
    pub(crate) fn begin(&self, seats: &mut Seats, reuse: &ReuseConfig) -> bool {
        let has_room = self.has_room(seats, reuse);
        if has_room {
            self.active.fetch_add(1, Ordering::SeqCst);
            seats.begun += 1;
        }
        has_room
    }

    /// Ends an exchange, and says whether that was the only one. An instance that did not serve one to the end
    /// (`whole` is false) serves no other.
    pub(crate) fn finish(&self, seats: &mut Seats, whole: bool) -> bool {
        seats.broken |= !whole;
        let left = self.active.fetch_sub(1, Ordering::SeqCst) - 1;
        self.guest.leave();
        left == 0
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        self.guest.kill();
    }

    /// Whether it can take another exchange.
    pub(crate) fn has_room(&self, seats: &Seats, reuse: &ReuseConfig) -> bool {
        self.active.load(Ordering::Relaxed) < reuse.concurrency
            && seats.begun < reuse.exchanges
            && !seats.broken
            && !seats.withdrawn
    }

    /// Whether it serves one exchange, and that is the last one if it is `ending`.
    pub(crate) fn is_at_last(&self, seats: &Seats, reuse: &ReuseConfig, ending: bool) -> bool {
        self.is_alone() && (ending || seats.begun >= reuse.exchanges)
    }

    /// Whether it serves one exchange.
    pub(crate) fn is_alone(&self) -> bool {
        self.active.load(Ordering::Relaxed) == 1
    }

    /// It waits for its next exchange from now on, if it finds room for that. Without room it is used up: it ends
    /// in order, and a later exchange makes another.
    pub(crate) fn rest(&self, seats: &mut Seats, reuse: &ReuseConfig, idle: &IdleRoom) {
        seats.idle_since = Instant::now();
        if self.state.room.get().is_some() {
            return;
        }
        match idle.take() {
            // Exchanges end under the lock of the seats, so there was none before.
            Some(room) => drop(self.state.room.set(room)),
            None => seats.begun = reuse.exchanges,
        }
    }

    /// How much of the time `idle` is left before it has waited for that long.
    pub(crate) fn idle_left(&self, seats: &Seats, idle: Duration) -> Duration {
        match self.active.load(Ordering::Relaxed) {
            0 => idle.saturating_sub(seats.idle_since.elapsed()),
            _ => idle,
        }
    }
}

impl Seats {
    /// Takes no other exchange.
    pub(crate) fn withdraw(&mut self) {
        self.withdrawn = true;
    }

    /// Whether it ends with the last exchange on it.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Takes no other exchange, and ends with the last one.
    pub(crate) fn break_off(&mut self) {
        self.broken = true;
    }
}

impl Drop for PooledInstance {
    fn drop(&mut self) {
        self.state.inbox().left = true;
        self.guest.wake_task();
    }
}
