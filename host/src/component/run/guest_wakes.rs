//! What wakes a guest of wasi:http 0.3 while its exchange polls it anyway.
//!
//! Such a guest wakes its own poller several times in a request: one of its tasks ends, or a body does. For that
//! tokio would poll the connection once more, and wake another worker to do so. So wakes are only noted while the
//! exchange is at work, and the exchange looks at the note before it waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Polls in a row of a guest that is woken by its own poll, before others get their turn.
pub(super) const ROUNDS: usize = 4;

/// The wakes of one guest, whose exchange is at work.
#[derive(Debug, Default)]
pub(crate) struct GuestWakes {
    /// It has been woken since its last poll began.
    woken: AtomicBool,
    /// Its exchange waits: what wakes the guest is to wake that.
    waits: AtomicBool,
    /// The exchange that waits.
    exchange: Mutex<Option<Waker>>,
}

impl GuestWakes {
    /// The guest is polled now. Whatever woke it before has been heard.
    pub(crate) fn clear(&self) {
        // A swap, so that the poll sees what those have written who woke it.
        self.woken.swap(false, Ordering::AcqRel);
    }

    /// Whether it has been woken since its last poll began.
    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// The exchange is going to wait, and what wakes the guest wakes `exchange` from now on. So does this, if the
    /// guest has been woken already.
    pub(crate) fn wait(&self, exchange: &Waker) {
        *self.exchange() = Some(exchange.clone());
        self.waits.store(true, Ordering::SeqCst);
        if self.is_woken() {
            exchange.wake_by_ref();
        }
    }

    /// The exchange is at work again.
    pub(crate) fn resume(&self) {
        self.waits.store(false, Ordering::SeqCst);
    }

    /// The guest is to be polled.
    pub(crate) fn wake(&self) {
        self.woken.store(true, Ordering::SeqCst);
        if self.waits.load(Ordering::SeqCst)
            && let Some(exchange) = &*self.exchange()
        {
            exchange.wake_by_ref();
        }
    }

    fn exchange(&self) -> MutexGuard<'_, Option<Waker>> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    /// An exchange that counts how often it is woken.
    #[derive(Default)]
    pub(in crate::component::run) struct Count(AtomicUsize);

    impl Count {
        pub(in crate::component::run) fn woken(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_guest_that_is_woken_while_it_is_polled_wakes_nobody() {
        let (wakes, count) = (GuestWakes::default(), Arc::<Count>::default());
        let exchange = count.clone().into();
        wakes.clear();
        wakes.wake();
        assert_eq!((wakes.is_woken(), count.woken()), (true, 0));
        wakes.clear();
        assert!(!wakes.is_woken());
        wakes.wait(&exchange);
        assert_eq!(count.woken(), 0);
        wakes.wake();
        assert_eq!(count.woken(), 1, "now it waits");
        wakes.resume();
        wakes.wake();
        assert_eq!(count.woken(), 1);
        wakes.wait(&exchange);
        assert_eq!(count.woken(), 2, "what came before the wait is not lost");
    }

    /// Whichever is first: the exchange sees the note, or the wake sees that it waits.
    #[test]
    fn no_wake_is_lost_between_the_note_and_the_wait() {
        for _ in 0..10_000 {
            let (wakes, count) = (GuestWakes::default(), Arc::<Count>::default());
            let exchange = count.clone().into();
            std::thread::scope(|scope| {
                scope.spawn(|| wakes.wake());
                wakes.wait(&exchange);
            });
            assert!(count.woken() > 0);
        }
    }
}
