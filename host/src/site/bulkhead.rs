//! The bulkhead of a component bounds how many exchanges have an instance and how many wait for one. The
//! next one is refused at once, and so is one that would wait for too long.
//!
//! Where the workers have a [`Backlog`] and guests compute for longer than a refusal takes, an exchange waits for its
//! guest's start too: only as many guests are started at once as there are workers. The others wait here, where they
//! are counted, and not in tokio's queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use host_clock::Moment;
use host_manifest::{LimitKey, LimitReached};
use tokio::sync::{AcquireError, Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

use super::backlog::Backlog;
use super::chain_permits::{ChainPermits, TotalPermit};
use super::permits::{Permit, Permits};

/// Hands out permits to run an instance of one component.
#[derive(Debug)]
pub struct Bulkhead {
    instances: Permits,
    queue: Semaphore,
    places: usize,
    /// Held by the first in line of those that wait for an instance of this component and for permits
    /// out of the total.
    first_in_line: Mutex<()>,
    /// Microseconds that the last one which got an instance has waited for each place in line; 0 while that is not
    /// known.
    pace: AtomicU32,
    wait: Duration,
    /// Starts of guests at once, where the workers have a backlog.
    starts: Arc<Semaphore>,
    /// What they cost, as far as that was looked at: where the workers have a backlog.
    cost: Arc<StartCost>,
    workers: usize,
    backlog: Backlog,
    /// Of all components together.
    total: Arc<Permits>,
}

/// The permit to run one instance. Dropping it lets the next exchange in.
#[derive(Debug)]
pub struct InstancePermit {
    _own: Permit,
    _of_total: TotalPermit,
    start: Option<GuestStart>,
}

/// The right to start a guest where the workers have a backlog. Dropping it, once the guest computes no more, lets the
/// next one start.
#[derive(Debug)]
pub struct GuestStart {
    /// None where a start costs little.
    _permit: Option<OwnedSemaphorePermit>,
    cost: Arc<StartCost>,
}

/// Microseconds of CPU time that a start takes: an average in which the last eight or so count. 0 while that is not
/// known.
#[derive(Debug, Default)]
struct StartCost(AtomicU32);

/// A guest that computes for less is started at once: to refuse its request would cost a good part of that.
const COSTLY: Duration = Duration::from_micros(500);

/// One who was behind fewer places cannot tell what a place takes from what a turn takes in any case: all that is ready in
/// tokio's queue,
const TELLING_PLACES: u32 = 16;

/// unless it has waited for this part of `queue-timeout`, which no queue of tokio's explains. Refusals begin at half of it,
/// and have to know the pace well before.
const TELLING_PART: u32 = 8;

/// There is no instance, and the queue is full or the wait was or would be too long: the limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full(pub LimitReached);

impl Bulkhead {
    /// `instances` run at once, `queue` exchanges wait, each for at most `wait`. `total` bounds all
    /// components together. Where the `workers` have a `backlog`, as many guests as there are of them are started at
    /// once.
    #[must_use]
    pub fn new(
        (instances, places, wait): (usize, usize, Duration),
        total: Arc<Permits>,
        (workers, backlog): (usize, Backlog),
    ) -> Self {
        Self {
            instances: Permits::new(instances),
            queue: Semaphore::new(places),
            places,
            first_in_line: Mutex::default(),
            pace: AtomicU32::new(0),
            wait,
            starts: Arc::new(Semaphore::new(workers)),
            cost: Arc::default(),
            workers,
            backlog,
            total,
        }
    }

    /// Instances of this component that are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.instances.available()
    }

    /// Exchanges that wait for an instance.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.places.saturating_sub(self.queue.available_permits())
    }

    /// The permit to run an instance, if nobody waits and it is there and may be started, with `chain_length` permits out of
    /// the total: one for this instance, the rest goes to `chain`, which has none yet.
    #[must_use]
    pub fn try_acquire(
        &self,
        chain: Option<&ChainPermits>,
        chain_length: usize,
    ) -> Option<InstancePermit> {
        if self.queue.available_permits() < self.places {
            return None;
        }
        let start = match self.is_backlogged() {
            false => None,
            true if self.cost.is_high() => {
                Some(self.start(Some(self.starts.clone().try_acquire_owned().ok()?)))
            }
            true => Some(self.start(None)),
        };
        let own = self.instances.try_acquire(1)?;
        let of_total = self.total.try_acquire(chain_length)?;
        Some(InstancePermit::new(own, TotalPermit::first_of(of_total, chain), start))
    }

    fn start(&self, permit: Option<OwnedSemaphorePermit>) -> GuestStart {
        GuestStart { _permit: permit, cost: self.cost.clone() }
    }

    /// Whether guests wait for their start. Where nobody may wait here, they wait in tokio's queue. As many as there are
    /// workers would start at once in any case, so nobody looks for them.
    fn is_backlogged(&self) -> bool {
        self.places > 0 && self.backlog.is_long(|| self.at_work() >= self.workers)
    }

    fn at_work(&self) -> usize {
        self.instances.all().saturating_sub(self.instances.available())
    }

    /// Waits for the permit to run an instance, if there is room to wait, and for `chain_length` permits
    /// out of the total: one for this instance, the rest goes to `chain`. If `chain` has a permit
    /// already, that one is taken. Bounded by the queue's wait and `more`; cancel-safe.
    ///
    /// # Errors
    /// When the queue is full, or the wait was too long, or is going to be: half of it has to be enough for all who
    /// are in line, at the pace of the last one. So whoever has a place in line is served, and the others are told
    /// at once, while that is of use to their clients.
    pub async fn acquire(
        &self,
        chain: Option<&ChainPermits>,
        chain_length: usize,
        more: Duration,
    ) -> Result<InstancePermit, Full> {
        if let Some(of_total) = chain.and_then(ChainPermits::take) {
            return Ok(InstancePermit::new(self.acquire_own().await?, of_total, None));
        }
        if let Some(permit) = self.try_acquire(chain, chain_length) {
            return Ok(permit);
        }
        let _place = self.queue.try_acquire().map_err(|_| self.has_no_place())?;
        let in_line = u32::try_from(self.waiting()).unwrap_or(u32::MAX).max(1);
        let wait = self.wait.saturating_add(more);
        // Behind a closed door nobody else comes: whoever is here waits for no longer than those who are here take.
        if self.pace().saturating_mul(in_line) > wait / 2 && !self.backlog.is_ending() {
            return Err(self.waited_too_long());
        }
        let ahead =
            in_line.saturating_add(u32::try_from(self.started_before()).unwrap_or(u32::MAX));
        let asked = Moment::now();
        let in_turn = host_clock::timeout(wait, self.acquire_in_turn(chain_length)).await;
        self.learn(asked.elapsed(), ahead);
        let too_long = || self.waited_too_long();
        let (start, own, of_total) = in_turn.map_err(|_| too_long())?.map_err(|_| too_long())?;
        let of_total = TotalPermit::first_of(of_total, chain);
        Ok(InstancePermit::new(own, of_total, Some(self.start(start))))
    }

    /// Guests at work beyond those that are started at once. They were started before a backlog was seen, and whoever
    /// waits for a start waits for them too.
    fn started_before(&self) -> usize {
        match self.free() {
            0 => 0,
            _ => self.at_work().saturating_sub(self.workers),
        }
    }

    /// An exchange has waited so long for its turn, with so many places `ahead`, its own among them.
    fn learn(&self, waited: Duration, ahead: u32) {
        let pace = waited / ahead;
        let is_telling = ahead >= TELLING_PLACES || waited >= self.wait / TELLING_PART;
        self.set_pace(match self.waiting() {
            // What held those up who came before is nothing to those who come when nobody is left.
            0 | 1 => Duration::ZERO,
            _ if is_telling => pace,
            _ => self.pace().min(pace),
        });
    }

    fn pace(&self) -> Duration {
        Duration::from_micros(self.pace.load(Ordering::Relaxed).into())
    }

    fn set_pace(&self, pace: Duration) {
        let micros = u32::try_from(pace.as_micros()).unwrap_or(u32::MAX);
        self.pace.store(micros, Ordering::Relaxed);
    }

    /// The same for a component behind the first one of a chain, which has filled `chain`. If that is
    /// empty, because a plugin passes on more requests at once than the chain has components, the
    /// permit comes from the total without a wait.
    ///
    /// # Errors
    /// As [`Self::acquire`], and when the total has no permit left.
    pub async fn acquire_in_chain(
        &self,
        chain: Option<&ChainPermits>,
    ) -> Result<InstancePermit, Full> {
        let of_total = chain.and_then(ChainPermits::take);
        let own = self.acquire_own().await?;
        let of_total = match of_total {
            Some(of_total) => of_total,
            None => TotalPermit::first_of(
                self.total.try_acquire(1).ok_or_else(|| self.has_no_total())?,
                None,
            ),
        };
        Ok(InstancePermit::new(own, of_total, None))
    }

    async fn acquire_own(&self) -> Result<Permit, Full> {
        if let Some(own) = self.instances.try_acquire(1) {
            return Ok(own);
        }
        let _place = self.queue.try_acquire().map_err(|_| self.has_no_place())?;
        let own = host_clock::timeout(self.wait, self.instances.acquire(1)).await;
        own.map_err(|_| self.waited_too_long())?.map_err(|_| self.waited_too_long())
    }

    fn has_no_place(&self) -> Full {
        Full(LimitKey::Queue.count(self.places))
    }

    fn waited_too_long(&self) -> Full {
        Full(LimitKey::QueueTimeout.time(self.wait))
    }

    fn has_no_total(&self) -> Full {
        Full(LimitKey::TotalInstances.count(self.total.all()))
    }

    /// Waits for its turn, and then for the start, the instance and its part of the total.
    async fn acquire_in_turn(
        &self,
        wanted: usize,
    ) -> Result<(Option<OwnedSemaphorePermit>, Permit, Permit), AcquireError> {
        // One at a time, in the order in which they came: so they do not take it from each other.
        let first = self.first_in_line.lock().await;
        let start = match self.cost.is_high() {
            true => Some(self.starts.clone().acquire_owned().await?),
            false => None,
        };
        let (own, of_total) = self.acquire_both(wanted).await?;
        drop(first);
        // The guest before it may have given way to this one alone: first all that is ready, and the reactor.
        yield_now().await;
        Ok((start, own, of_total))
    }

    /// Waits for both, and holds neither while it waits for the other. A request that a plugin has
    /// passed on holds its permit of the total and waits for an instance of this component: a waiter
    /// that held that instance and waited for the total would wait for it in turn, and nothing would
    /// run. And a permit of the total that is held by a waiter is one that another component could use.
    async fn acquire_both(&self, wanted: usize) -> Result<(Permit, Permit), AcquireError> {
        loop {
            let own = self.instances.acquire(1).await?;
            if let Some(of_total) = self.total.try_acquire(wanted) {
                return Ok((own, of_total));
            }
            drop(own);
            let of_total = self.total.acquire(wanted).await?;
            if let Some(own) = self.instances.try_acquire(1) {
                return Ok((own, of_total));
            }
        }
    }
}

impl InstancePermit {
    fn new(own: Permit, of_total: TotalPermit, start: Option<GuestStart>) -> Self {
        Self { _own: own, _of_total: of_total, start }
    }

    /// What is to be kept while the guest computes for the first time.
    pub fn take_start(&mut self) -> Option<GuestStart> {
        self.start.take()
    }
}

impl GuestStart {
    /// A guest that has computed for so long is no start any more: it gives way to others of its component at each tick,
    /// however many they are.
    pub const LONGEST: Duration = Duration::from_millis(250);

    /// The guest has taken so much CPU time by now, and waits for something else, or is done, or takes too long.
    pub fn end(self, cpu: Duration) {
        // To wait for the start of a guest that computes without an end would be to wait for its end.
        self.cost.add(if cpu > Self::LONGEST { Duration::ZERO } else { cpu });
    }
}

impl StartCost {
    fn is_high(&self) -> bool {
        Duration::from_micros(self.0.load(Ordering::Relaxed).into()) > COSTLY
    }

    /// Of two that add at the same time one may not count.
    fn add(&self, cpu: Duration) {
        let cost = u32::try_from(cpu.as_micros()).unwrap_or(u32::MAX).max(1);
        let before = self.0.load(Ordering::Relaxed);
        let average = if before == 0 { cost } else { before - before / 8 + cost / 8 };
        self.0.store(average.max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "bulkhead_tests.rs"]
mod tests;
