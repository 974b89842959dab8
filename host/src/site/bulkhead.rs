//! The bulkhead of a component: so many exchanges have an instance, so many wait, the rest is told to
//! come again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Hands out the right to run an instance.
#[derive(Debug)]
pub struct Bulkhead {
    instances: Arc<Semaphore>,
    queue: Semaphore,
    wait: Duration,
}

/// The right to run one instance; dropping it lets the next one in.
pub type Permit = OwnedSemaphorePermit;

/// There is no instance, and no hope for one soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Bulkhead {
    /// `instances` run at once, `queue` wait, each for at most `wait`.
    #[must_use]
    pub fn new(instances: usize, queue: usize, wait: Duration) -> Self {
        Self { instances: Arc::new(Semaphore::new(instances)), queue: Semaphore::new(queue), wait }
    }

    /// Rights that nobody has.
    #[must_use]
    pub fn free(&self) -> usize {
        self.instances.available_permits()
    }

    /// Waits for the right to run an instance, if there is room to wait. Bounded by the queue's
    /// wait; cancel-safe.
    ///
    /// # Errors
    /// When the queue is full, or the wait was too long.
    pub async fn enter(&self) -> Result<Permit, Full> {
        if let Ok(permit) = self.instances.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let place = self.queue.try_acquire().map_err(|_| Full)?;
        let permit = timeout(self.wait, self.instances.clone().acquire_owned()).await;
        drop(place);
        permit.map_err(|_| Full)?.map_err(|_| Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_in_length_and_in_time() {
        let bulkhead = Arc::new(Bulkhead::new(1, 1, Duration::from_secs(1)));
        let first = bulkhead.enter().await.unwrap();
        let began = tokio::time::Instant::now();
        let waiting = tokio::spawn({
            let bulkhead = bulkhead.clone();
            async move { bulkhead.enter().await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(bulkhead.enter().await.map(drop), Err(Full), "the queue has one place");
        assert_eq!(began.elapsed(), Duration::ZERO, "who finds no place is told at once");
        assert_eq!(waiting.await.unwrap(), Err(Full));
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        let waiting = tokio::spawn({
            let bulkhead = bulkhead.clone();
            async move { bulkhead.enter().await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(waiting.await.unwrap(), Ok(()), "who leaves lets the next one in");
    }
}
