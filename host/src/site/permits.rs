//! Permits for so many at once. Who gives one back on a thread leaves it for the next one on that thread: so
//! requests on different threads write to nothing together, as long as there are permits for all.
//!
//! ```text
//!   thread 1: stripe ⇄ permit        common: a semaphore, with a queue ←─ who waits
//!   thread 2: stripe ⇄ permit            │            ▲
//!              ▲  └─────────────────────────────────┘ while anybody waits, or finds too few
//!              └───────── a stripe that is empty ←────┘
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use host_shards::{OwnLines, Sharded};
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

/// Hands out permits: no more than there are, to those who wait in the order in which they came.
#[derive(Debug)]
pub struct Permits {
    stripes: Sharded<Arc<OwnLines<Stripe>>>,
    common: Arc<Common>,
}

/// What no thread keeps for itself.
#[derive(Debug)]
struct Common {
    semaphore: Semaphore,
    /// Who wants what the stripes keep. While there is anybody, what is given back goes to the semaphore.
    ///
    /// Set before the stripes are emptied, and read after one is filled, each in the one order of all threads:
    /// so either this sees the other, and no permit stays where nobody looks.
    wanting: AtomicUsize,
    all: usize,
}

/// What is kept on one thread.
#[derive(Debug)]
struct Stripe {
    spare: AtomicUsize,
    common: Arc<Common>,
}

/// So many permits, one at least. Dropping it gives them back.
#[derive(Debug)]
pub(super) struct Permit {
    /// That of the thread on which it was taken.
    stripe: Arc<OwnLines<Stripe>>,
    number: usize,
}

/// Somebody wants what the stripes keep, as long as this lives.
struct Wanting<'a>(&'a Common);

impl Permits {
    /// So many.
    #[must_use]
    pub fn new(permits: usize) -> Self {
        let semaphore = Semaphore::new(permits.min(Semaphore::MAX_PERMITS));
        let common = Arc::new(Common { semaphore, wanting: AtomicUsize::new(0), all: permits });
        let stripe = || Stripe { spare: AtomicUsize::new(0), common: common.clone() };
        Self { stripes: Sharded::new(|| Arc::new(OwnLines(stripe()))), common }
    }

    /// How many nobody has, as it looks from here: others take some and give some back meanwhile.
    #[must_use]
    pub fn available(&self) -> usize {
        let spare: usize = self.stripes.iter().map(|one| one.spare.load(Ordering::Relaxed)).sum();
        self.common.semaphore.available_permits() + spare
    }

    /// How many there are, in use or not.
    pub(super) fn all(&self) -> usize {
        self.common.all
    }

    /// So many at once, if they are there.
    pub(super) fn try_acquire(&self, number: usize) -> Option<Permit> {
        if number == 1 && self.stripes.mine().take_one() {
            return Some(self.permit(number));
        }
        self.try_common(number).or_else(|| {
            let _wanting = self.gather();
            self.try_common(number)
        })
    }

    /// So many at once, when it is their turn. Cancel-safe; bounded by whoever calls.
    ///
    /// # Errors
    /// Never: the semaphore is not closed.
    pub(super) async fn acquire(&self, number: usize) -> Result<Permit, AcquireError> {
        if let Some(permit) = self.try_acquire(number) {
            return Ok(permit);
        }
        let _wanting = self.gather();
        let wanted = u32::try_from(number).unwrap_or(u32::MAX);
        self.common.semaphore.acquire_many(wanted).await.map(SemaphorePermit::forget)?;
        Ok(self.permit(number))
    }

    fn try_common(&self, number: usize) -> Option<Permit> {
        let wanted = u32::try_from(number).unwrap_or(u32::MAX);
        self.common.semaphore.try_acquire_many(wanted).ok()?.forget();
        Some(self.permit(number))
    }

    /// Puts all that the stripes keep where everybody looks; as long as what this gives lives, they keep nothing.
    fn gather(&self) -> Wanting<'_> {
        self.common.wanting.fetch_add(1, Ordering::SeqCst);
        self.stripes.iter().for_each(|stripe| stripe.give_up());
        Wanting(&self.common)
    }

    fn permit(&self, number: usize) -> Permit {
        Permit { stripe: self.stripes.mine().clone(), number }
    }
}

impl Stripe {
    fn take_one(&self) -> bool {
        let less = |spare: usize| spare.checked_sub(1);
        self.spare.fetch_update(Ordering::SeqCst, Ordering::Relaxed, less).is_ok()
    }

    fn give_back(&self, number: usize) {
        if self.common.wanting.load(Ordering::SeqCst) > 0 {
            self.common.semaphore.add_permits(number);
            return;
        }
        self.spare.fetch_add(number, Ordering::SeqCst);
        if self.common.wanting.load(Ordering::SeqCst) > 0 {
            self.give_up();
        }
    }

    fn give_up(&self) {
        // Most are empty, and need not be written.
        if self.spare.load(Ordering::SeqCst) > 0 {
            self.common.semaphore.add_permits(self.spare.swap(0, Ordering::SeqCst));
        }
    }
}

impl Permit {
    /// How many they are.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Takes so many of them off, if that leaves one.
    pub(super) fn split(&mut self, number: usize) -> Option<Self> {
        if number == 0 || number >= self.number {
            return None;
        }
        self.number -= number;
        Some(Self { stripe: self.stripe.clone(), number })
    }

    /// Puts others of the same [`Permits`] to them.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.number += std::mem::take(&mut other.number);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.number > 0 {
            self.stripe.give_back(self.number);
        }
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.wanting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;
    use std::thread;

    use tokio::task::yield_now;

    use super::*;

    #[test]
    fn there_are_no_more_than_there_are() {
        let permits = Permits::new(3);
        let two = permits.try_acquire(2).unwrap();
        let one = permits.try_acquire(1).unwrap();
        assert!(permits.try_acquire(1).is_none());
        drop(two);
        assert_eq!(permits.available(), 2);
        assert!(permits.try_acquire(3).is_none());
        drop(one);
        let mut all = permits.try_acquire(3).unwrap();
        let one = all.split(1).unwrap();
        assert!(all.split(2).is_none(), "one has to be left");
        assert_eq!((one.number(), all.number(), permits.available()), (1, 2, 0));
        all.merge(one);
        drop(all);
        assert_eq!(permits.available(), 3);
    }

    #[test]
    fn what_another_thread_keeps_can_be_had() {
        let permits = Arc::new(Permits::new(2));
        let other = permits.clone();
        thread::spawn(move || drop(other.try_acquire(1).unwrap())).join().unwrap();
        let both = permits.try_acquire(2);
        assert!(both.is_some());
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_given_back_and_in_the_order_of_coming() {
        let permits = Arc::new(Permits::new(1));
        let held = permits.try_acquire(1).unwrap();
        let wait = |permits: &Arc<Permits>| {
            let permits = permits.clone();
            tokio::spawn(async move { permits.acquire(1).await.unwrap() })
        };
        let first = wait(&permits);
        yield_now().await;
        let second = wait(&permits);
        yield_now().await;
        drop(held);
        assert!(permits.try_acquire(1).is_none(), "it has been given to who waits");
        let held = first.await.unwrap();
        assert!(!second.is_finished());
        drop(held);
        drop(second.await.unwrap());
        assert_eq!(permits.available(), 1);
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_takes_nothing() {
        let permits = Permits::new(1);
        let held = permits.try_acquire(1).unwrap();
        {
            let mut wait = std::pin::pin!(permits.acquire(1));
            assert!(
                std::future::poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_pending())).await
            );
            drop(held);
        }
        assert_eq!(permits.available(), 1);
        drop(permits.try_acquire(1).unwrap());
        assert_eq!(permits.common.wanting.load(Ordering::SeqCst), 0);
    }

    /// All that is taken by threads that never wait and tasks that do is there again in the end, and nobody
    /// waits for what a stripe keeps.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_permit_is_lost_between_those_who_wait_and_those_who_give_back() {
        let permits = Arc::new(Permits::new(2));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let permits = permits.clone();
                tokio::spawn(async move {
                    for round in 0..2000 {
                        let permit = permits.acquire(1 + usize::from(round % 7 == 0)).await;
                        if round % 3 == 0 {
                            yield_now().await;
                        }
                        drop(permit);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(permits.available(), 2);
    }
}
