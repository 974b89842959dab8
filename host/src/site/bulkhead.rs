//! The bulkhead of a component: so many exchanges have an instance, so many wait, the rest is told to
//! come again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Hands out the right to run an instance of one component.
#[derive(Debug)]
pub struct Bulkhead {
    instances: Arc<Semaphore>,
    queue: Semaphore,
    wait: Duration,
    /// Of all components together.
    total: Arc<Semaphore>,
}

/// The right to run one instance; dropping it lets the next one in.
#[derive(Debug)]
pub struct Permit {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
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
        Self { instances, queue: Semaphore::new(queue), wait, total }
    }

    /// Rights of this component that nobody has.
    #[must_use]
    pub fn free(&self) -> usize {
        self.instances.available_permits()
    }

    /// Waits for the right to run an instance, if there is room to wait, and for `of_all` of those of
    /// all components. Bounded by the queue's wait; cancel-safe.
    ///
    /// # Errors
    /// When the queue is full, or the wait was too long.
    pub async fn enter(&self, of_all: usize) -> Result<Permit, Full> {
        let of_all = u32::try_from(of_all).unwrap_or(u32::MAX);
        if let Ok(own) = self.instances.clone().try_acquire_owned()
            && let Ok(of_all) = self.total.clone().try_acquire_many_owned(of_all)
        {
            return Ok(Permit { _own: own, _of_all: of_all });
        }
        let place = self.queue.try_acquire().map_err(|_| Full)?;
        // Its own first: who waits for all has a right that no other component could use.
        let both = timeout(self.wait, async {
            let own = self.instances.clone().acquire_owned().await?;
            let of_all = self.total.clone().acquire_many_owned(of_all).await?;
            Ok(Permit { _own: own, _of_all: of_all })
        });
        let permit: Result<Permit, AcquireError> = both.await.map_err(|_| Full)?;
        drop(place);
        permit.map_err(|_| Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_in_length_and_in_time() {
        let bulkhead =
            Arc::new(Bulkhead::new(1, 1, Duration::from_secs(1), Arc::new(Semaphore::new(1))));
        let first = bulkhead.enter(1).await.unwrap();
        let began = tokio::time::Instant::now();
        let waiting = tokio::spawn({
            let bulkhead = bulkhead.clone();
            async move { bulkhead.enter(1).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(bulkhead.enter(1).await.map(drop), Err(Full), "the queue has one place");
        assert_eq!(began.elapsed(), Duration::ZERO, "who finds no place is told at once");
        assert_eq!(waiting.await.unwrap(), Err(Full));
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        let waiting = tokio::spawn({
            let bulkhead = bulkhead.clone();
            async move { bulkhead.enter(1).await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(waiting.await.unwrap(), Ok(()), "who leaves lets the next one in");
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_all_instances_taken_by_others_waits_like_anybody() {
        let (total, second) = (Arc::new(Semaphore::new(1)), Duration::from_secs(1));
        let one = Bulkhead::new(1, 1, second, total.clone());
        let other = Arc::new(Bulkhead::new(1, 1, second, total));
        let permit = one.enter(1).await.unwrap();
        assert_eq!(other.enter(1).await.map(drop), Err(Full));
        let waiting = tokio::spawn({
            let other = other.clone();
            async move { other.enter(1).await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(permit);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }
}
