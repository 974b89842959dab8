//! The bulkhead of a component: so many exchanges have an instance, so many wait, the rest is told to
//! come again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{AcquireError, Mutex, OwnedSemaphorePermit, Semaphore};

use super::reserve::{Reserve, Right};

/// Hands out the right to run an instance of one component.
#[derive(Debug)]
pub struct Bulkhead {
    instances: Arc<Semaphore>,
    queue: Semaphore,
    places: usize,
    /// Who is at the head of those that wait for both an instance of its own and some of the total.
    head: Mutex<()>,
    wait: Duration,
    /// Of all components together.
    total: Arc<Semaphore>,
}

/// The right to run one instance; dropping it lets the next one in.
#[derive(Debug)]
pub struct Permit {
    _own: OwnedSemaphorePermit,
    _of_all: Right,
}

/// There is no instance, and no hope for one soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Bulkhead {
    /// `instances` run at once, `queue` wait, each for at most `wait`. `total` bounds all components
    /// together.
    #[must_use]
    pub fn new(instances: usize, queue: usize, wait: Duration, total: Arc<Semaphore>) -> Self {
        let instances = Arc::new(Semaphore::new(instances));
        let (places, queue, head) = (queue, Semaphore::new(queue), Mutex::default());
        Self { instances, queue, places, head, wait, total }
    }

    /// Rights of this component that nobody has.
    #[must_use]
    pub fn free(&self) -> usize {
        self.instances.available_permits()
    }

    /// Waits for the right to run an instance, if there is room to wait, and for `of_all` of those of
    /// all components: one for it, the others go to `reserve`. What is in that already is taken first.
    /// Bounded by the queue's wait and `more`; cancel-safe.
    ///
    /// # Errors
    /// When the queue is full, or the wait was too long.
    pub async fn enter(
        &self,
        reserve: &Reserve,
        of_all: usize,
        more: Duration,
    ) -> Result<Permit, Full> {
        if let Some(of_all) = reserve.take() {
            return Ok(Permit { _own: self.own().await?, _of_all: of_all });
        }
        let wanted = u32::try_from(of_all).unwrap_or(u32::MAX);
        if self.queue.available_permits() == self.places
            && let Ok(own) = self.instances.clone().try_acquire_owned()
            && let Ok(of_all) = self.total.clone().try_acquire_many_owned(wanted)
        {
            return Ok(Permit { _own: own, _of_all: reserve.fill(of_all) });
        }
        let _place = self.queue.try_acquire().map_err(|_| Full)?;
        let wait = self.wait.saturating_add(more);
        let both = host_clock::timeout(wait, self.both(wanted)).await;
        let (own, of_all) = both.map_err(|_| Full)?.map_err(|_| Full)?;
        Ok(Permit { _own: own, _of_all: reserve.fill(of_all) })
    }

    /// The same for one that is passed on to, on a way whose first component has filled `reserve`. If
    /// nothing is left in that, because more is passed on at once than there are components on the
    /// way, one of the total is not waited for.
    ///
    /// # Errors
    /// As [`Self::enter`], and when nothing is left.
    pub async fn follow(&self, reserve: &Reserve) -> Result<Permit, Full> {
        let of_all = reserve.take();
        let own = self.own().await?;
        let of_all = match of_all {
            Some(of_all) => of_all,
            None => Right::of_the_total(self.total.clone().try_acquire_owned().map_err(|_| Full)?),
        };
        Ok(Permit { _own: own, _of_all: of_all })
    }

    async fn own(&self) -> Result<OwnedSemaphorePermit, Full> {
        if let Ok(own) = self.instances.clone().try_acquire_owned() {
            return Ok(own);
        }
        let _place = self.queue.try_acquire().map_err(|_| Full)?;
        let own = host_clock::timeout(self.wait, self.instances.clone().acquire_owned()).await;
        own.map_err(|_| Full)?.map_err(|_| Full)
    }

    /// Waits for both, and holds neither while it waits for the other. One that is passed on to holds
    /// its right to the total and waits for one of this component: who held that and waited for the
    /// total would wait for it in turn, and nothing would run. A right of the total that is held
    /// while waiting is one that another component could use.
    async fn both(
        &self,
        wanted: u32,
    ) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), AcquireError> {
        // One at a time, in the order in which they came: so they do not take it from each other.
        let _head = self.head.lock().await;
        loop {
            let own = self.instances.clone().acquire_owned().await?;
            if let Ok(of_all) = self.total.clone().try_acquire_many_owned(wanted) {
                return Ok((own, of_all));
            }
            drop(own);
            let of_all = self.total.clone().acquire_many_owned(wanted).await?;
            if let Ok(own) = self.instances.clone().try_acquire_owned() {
                return Ok((own, of_all));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bulkhead(instances: usize, queue: usize, total: &Arc<Semaphore>) -> Arc<Bulkhead> {
        Arc::new(Bulkhead::new(instances, queue, SECOND, total.clone()))
    }

    /// Asks for `of_all` and waits in a task, which has begun to.
    async fn waits(
        bulkhead: &Arc<Bulkhead>,
        reserve: &Reserve,
        of_all: usize,
    ) -> JoinHandle<Result<Permit, Full>> {
        let (bulkhead, reserve) = (bulkhead.clone(), reserve.clone());
        let waiting =
            tokio::spawn(async move { bulkhead.enter(&reserve, of_all, Duration::ZERO).await });
        yield_now().await;
        waiting
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_in_length_and_in_time() {
        let (total, none) = (Arc::new(Semaphore::new(1)), Reserve::default());
        let bulkhead = bulkhead(1, 1, &total);
        let first = bulkhead.enter(&none, 1, Duration::ZERO).await.unwrap();
        let began = tokio::time::Instant::now();
        let waiting = waits(&bulkhead, &none, 1).await;
        assert_eq!(
            bulkhead.enter(&none, 1, Duration::ZERO).await.map(drop),
            Err(Full),
            "the queue has one place"
        );
        assert_eq!(began.elapsed(), Duration::ZERO, "who finds no place is told at once");
        assert_eq!(waiting.await.unwrap().map(drop), Err(Full));
        assert_eq!(began.elapsed(), SECOND);
        let waiting = waits(&bulkhead, &none, 1).await;
        drop(first);
        waiting.await.unwrap().expect("who leaves lets the next one in");
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_all_instances_taken_by_others_waits_like_anybody() {
        let (total, none) = (Arc::new(Semaphore::new(1)), Reserve::default());
        let (one, other) = (bulkhead(1, 1, &total), bulkhead(1, 1, &total));
        let permit = one.enter(&none, 1, Duration::ZERO).await.unwrap();
        assert_eq!(other.enter(&none, 1, Duration::ZERO).await.map(drop), Err(Full));
        let waiting = waits(&other, &none, 1).await;
        drop(permit);
        waiting.await.unwrap().expect("it is its turn");
    }

    /// Nothing ran until the queue's wait was over: a direct request had the application's instance
    /// and waited for the total, a chained one had the total and waited for that instance.
    #[tokio::test(start_paused = true)]
    async fn nobody_holds_what_another_waits_for_and_waits_for_what_that_one_holds() {
        let (total, none) = (Arc::new(Semaphore::new(2)), Reserve::default());
        let (plugin, app) = (bulkhead(8, 8, &total), bulkhead(1, 8, &total));
        let began = tokio::time::Instant::now();
        let (first, second) = (Reserve::default(), Reserve::default());
        let runs = (
            plugin.enter(&first, 2, Duration::ZERO).await.unwrap(),
            app.follow(&first).await.unwrap(),
            first,
        );
        let direct = waits(&app, &none, 1).await;
        let chained = waits(&plugin, &second, 2).await;
        drop(runs);
        let in_plugin = chained.await.unwrap().expect("the total is there");
        let in_app = app.follow(&second).await.expect("and the instance behind the plugin");
        yield_now().await;
        assert!(!direct.is_finished(), "there is one instance");
        drop((in_app, in_plugin, second));
        direct.await.unwrap().expect("it is its turn");
        assert_eq!(began.elapsed(), Duration::ZERO, "whatever was free was used");
        assert_eq!(total.available_permits(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_longest_is_next_and_is_not_overtaken() {
        let (total, none) = (Arc::new(Semaphore::new(1)), Reserve::default());
        let (one, other) = (bulkhead(1, 8, &total), bulkhead(1, 8, &total));
        let held = other.enter(&none, 1, Duration::ZERO).await.unwrap();
        let (first, second) = (waits(&one, &none, 1).await, waits(&one, &none, 1).await);
        drop(held);
        let third = waits(&one, &none, 1).await;
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
        let total = Arc::new(Semaphore::new(3));
        let (plugin, app) = (bulkhead(8, 8, &total), bulkhead(8, 8, &total));
        let reserve = Reserve::default();
        let in_plugin = plugin.enter(&reserve, 2, Duration::ZERO).await.unwrap();
        let in_app = app.follow(&reserve).await.unwrap();
        assert_eq!(total.available_permits(), 1);
        let more = app.follow(&reserve).await.expect("one is left for another");
        assert_eq!(app.follow(&reserve).await.map(drop), Err(Full), "and none is waited for");
        drop(in_app);
        let in_app = app.follow(&reserve).await.expect("what was given back is there again");
        drop((more, in_plugin, reserve));
        assert_eq!(total.available_permits(), 2);
        drop(in_app);
        assert_eq!(total.available_permits(), 3);
    }
}
