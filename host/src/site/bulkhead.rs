//! The bulkhead of a component bounds how many exchanges have an instance and how many wait for one. The
//! next one is refused at once.

use std::sync::Arc;
use std::time::Duration;

use host_manifest::{LimitKey, LimitReached};
use tokio::sync::{AcquireError, Mutex, Semaphore};

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
    wait: Duration,
    /// Of all components together.
    total: Arc<Permits>,
}

/// The permit to run one instance. Dropping it lets the next exchange in.
#[derive(Debug)]
pub struct InstancePermit {
    _own: Permit,
    _of_total: TotalPermit,
}

/// There is no instance, and the queue is full or the wait was too long: the limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full(pub LimitReached);

impl Bulkhead {
    /// `instances` run at once, `queue` exchanges wait, each for at most `wait`. `total` bounds all
    /// components together.
    #[must_use]
    pub fn new(instances: usize, queue: usize, wait: Duration, total: Arc<Permits>) -> Self {
        let instances = Permits::new(instances);
        let (places, queue, first_in_line) = (queue, Semaphore::new(queue), Mutex::default());
        Self { instances, queue, places, first_in_line, wait, total }
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

    /// The permit to run an instance, if nobody waits and it is there, with `chain_length` permits out of
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
        let own = self.instances.try_acquire(1)?;
        let of_total = self.total.try_acquire(chain_length)?;
        Some(InstancePermit { _own: own, _of_total: TotalPermit::first_of(of_total, chain) })
    }

    /// Waits for the permit to run an instance, if there is room to wait, and for `chain_length` permits
    /// out of the total: one for this instance, the rest goes to `chain`. If `chain` has a permit
    /// already, that one is taken. Bounded by the queue's wait and `more`; cancel-safe.
    ///
    /// # Errors
    /// When the queue is full, or the wait was too long.
    pub async fn acquire(
        &self,
        chain: Option<&ChainPermits>,
        chain_length: usize,
        more: Duration,
    ) -> Result<InstancePermit, Full> {
        if let Some(of_total) = chain.and_then(ChainPermits::take) {
            return Ok(InstancePermit { _own: self.acquire_own().await?, _of_total: of_total });
        }
        if let Some(permit) = self.try_acquire(chain, chain_length) {
            return Ok(permit);
        }
        let _place = self.queue.try_acquire().map_err(|_| self.has_no_place())?;
        let wait = self.wait.saturating_add(more);
        let both = host_clock::timeout(wait, self.acquire_both(chain_length)).await;
        let too_long = || self.waited_too_long();
        let (own, of_total) = both.map_err(|_| too_long())?.map_err(|_| too_long())?;
        Ok(InstancePermit { _own: own, _of_total: TotalPermit::first_of(of_total, chain) })
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
        Ok(InstancePermit { _own: own, _of_total: of_total })
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

    /// Waits for both, and holds neither while it waits for the other. A request that a plugin has
    /// passed on holds its permit of the total and waits for an instance of this component: a waiter
    /// that held that instance and waited for the total would wait for it in turn, and nothing would
    /// run. And a permit of the total that is held by a waiter is one that another component could use.
    async fn acquire_both(&self, wanted: usize) -> Result<(Permit, Permit), AcquireError> {
        // One at a time, in the order in which they came: so they do not take it from each other.
        let _first = self.first_in_line.lock().await;
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

#[cfg(test)]
mod tests {
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bulkhead(instances: usize, queue: usize, total: &Arc<Permits>) -> Arc<Bulkhead> {
        Arc::new(Bulkhead::new(instances, queue, SECOND, total.clone()))
    }

    /// Spawns a task that waits for a chain of this length, and returns when it has begun to wait.
    async fn spawn_waiter(
        bulkhead: &Arc<Bulkhead>,
        chain: Option<&ChainPermits>,
        chain_length: usize,
    ) -> JoinHandle<Result<InstancePermit, Full>> {
        let (bulkhead, chain) = (bulkhead.clone(), chain.cloned());
        let waiting = tokio::spawn(async move {
            bulkhead.acquire(chain.as_ref(), chain_length, Duration::ZERO).await
        });
        yield_now().await;
        waiting
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_in_length_and_in_time() {
        let (total, none) = (Arc::new(Permits::new(1)), None);
        let bulkhead = bulkhead(1, 1, &total);
        let first = bulkhead.acquire(none, 1, Duration::ZERO).await.unwrap();
        let began = tokio::time::Instant::now();
        let waiting = spawn_waiter(&bulkhead, none, 1).await;
        assert_eq!(
            bulkhead.acquire(none, 1, Duration::ZERO).await.map(drop),
            Err(Full(LimitKey::Queue.count(1))),
            "the queue has one place"
        );
        assert_eq!(began.elapsed(), Duration::ZERO, "who finds no place is told at once");
        let waited = Full(LimitKey::QueueTimeout.time(SECOND));
        assert_eq!(waiting.await.unwrap().map(drop), Err(waited));
        assert_eq!(began.elapsed(), SECOND);
        let waiting = spawn_waiter(&bulkhead, none, 1).await;
        drop(first);
        waiting.await.unwrap().expect("who leaves lets the next one in");
    }

    #[tokio::test(start_paused = true)]
    async fn exchange_that_finds_all_instances_taken_by_other_components_waits() {
        let (total, none) = (Arc::new(Permits::new(1)), None);
        let (one, other) = (bulkhead(1, 1, &total), bulkhead(1, 1, &total));
        let permit = one.acquire(none, 1, Duration::ZERO).await.unwrap();
        let waited = Full(LimitKey::QueueTimeout.time(SECOND));
        assert_eq!(other.acquire(none, 1, Duration::ZERO).await.map(drop), Err(waited));
        let waiting = spawn_waiter(&other, none, 1).await;
        drop(permit);
        waiting.await.unwrap().expect("it is its turn");
    }

    /// Nothing ran until the queue's wait was over: a direct request had the application's instance
    /// and waited for the total, a chained one had the total and waited for that instance.
    #[tokio::test(start_paused = true)]
    async fn no_exchange_holds_what_another_waits_for_while_it_waits_for_what_that_one_holds() {
        let (total, none) = (Arc::new(Permits::new(2)), None);
        let (plugin, app) = (bulkhead(8, 8, &total), bulkhead(1, 8, &total));
        let began = tokio::time::Instant::now();
        let (first, second) = (ChainPermits::default(), ChainPermits::default());
        let runs = (
            plugin.acquire(Some(&first), 2, Duration::ZERO).await.unwrap(),
            app.acquire_in_chain(Some(&first)).await.unwrap(),
            first,
        );
        let direct = spawn_waiter(&app, none, 1).await;
        let chained = spawn_waiter(&plugin, Some(&second), 2).await;
        drop(runs);
        let in_plugin = chained.await.unwrap().expect("the total is there");
        let in_app =
            app.acquire_in_chain(Some(&second)).await.expect("and the instance behind the plugin");
        yield_now().await;
        assert!(!direct.is_finished(), "there is one instance");
        drop((in_app, in_plugin, second));
        direct.await.unwrap().expect("it is its turn");
        assert_eq!(began.elapsed(), Duration::ZERO, "whatever was free was used");
        assert_eq!(total.available(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn exchange_that_waits_longest_is_next_and_is_not_overtaken() {
        let (total, none) = (Arc::new(Permits::new(1)), None);
        let (one, other) = (bulkhead(1, 8, &total), bulkhead(1, 8, &total));
        let held = other.acquire(none, 1, Duration::ZERO).await.unwrap();
        let (first, second) =
            (spawn_waiter(&one, none, 1).await, spawn_waiter(&one, none, 1).await);
        drop(held);
        let third = spawn_waiter(&one, none, 1).await;
        let permit = first.await.unwrap().expect("it came first");
        assert!(!second.is_finished() && !third.is_finished());
        drop(permit);
        drop(second.await.unwrap().expect("it came before"));
        third.await.unwrap().expect("it came last");
    }

    /// What works on after its answer, or was left behind by its plugin, had no right of its own: the
    /// pool was full of those, and others were told so at once.
    #[tokio::test(start_paused = true)]
    async fn an_instance_keeps_its_right_when_those_before_it_have_ended() {
        let total = Arc::new(Permits::new(3));
        let (plugin, app) = (bulkhead(8, 8, &total), bulkhead(8, 8, &total));
        let chain = ChainPermits::default();
        let in_plugin = plugin.acquire(Some(&chain), 2, Duration::ZERO).await.unwrap();
        let in_app = app.acquire_in_chain(Some(&chain)).await.unwrap();
        assert_eq!(total.available(), 1);
        let more = app.acquire_in_chain(Some(&chain)).await.expect("one is left for another");
        assert_eq!(
            app.acquire_in_chain(Some(&chain)).await.map(drop),
            Err(Full(LimitKey::TotalInstances.count(3))),
            "and none is waited for"
        );
        drop(in_app);
        let in_app =
            app.acquire_in_chain(Some(&chain)).await.expect("what was given back is there again");
        drop((more, in_plugin, chain));
        assert_eq!(total.available(), 2);
        drop(in_app);
        assert_eq!(total.available(), 3);
    }
}
