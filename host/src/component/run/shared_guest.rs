//! A guest that several tasks poll: each of its exchanges, and a task of its own.
//!
//! An exchange that has something for the guest polls it there and then. So a request that a guest answers at
//! once is served without a switch between tasks or threads. What wakes the guest later wakes its only exchange,
//! as it would with an instance of its own. While several share it, that wakes the guest's task: an exchange is
//! polled only when its client reads, and others may not wait for that.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};

use super::guest_wakes::ROUNDS;

/// A guest as a future. It ends when the guest has.
pub(crate) type GuestFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A guest that several tasks poll. Dropping it ends the guest.
pub(crate) struct SharedGuest {
    /// None once it is gone. Held for the length of a poll, and only ever tried: nothing waits for a guest that
    /// computes.
    guest: Mutex<Option<GuestFuture>>,
    relay: Arc<Relay>,
    /// The relay, as the guest sees it.
    waker: Waker,
    killed: AtomicBool,
    gone: AtomicBool,
}

/// Passes on what wakes a guest.
#[derive(Default)]
struct Relay {
    /// It has been woken since its last poll began.
    woken: AtomicBool,
    /// A poll is under way. Whoever polls looks at `woken` once more after it, so a wake needs to do nothing else.
    polled: AtomicBool,
    /// The only exchange on it. None for several, and for none.
    exchange: Mutex<Option<Waker>>,
    task: OnceLock<Waker>,
}

impl Relay {
    /// Whether it is to be polled.
    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    fn exchange(&self) -> MutexGuard<'_, Option<Waker>> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_task(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    /// Leaves a poll to whoever is polling. False if nobody is, as far as one can see.
    fn leave_to_poller(&self) -> bool {
        self.woken.store(true, Ordering::SeqCst);
        self.polled.load(Ordering::SeqCst)
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.leave_to_poller() {
            return;
        }
        match &*self.exchange() {
            Some(exchange) => exchange.wake_by_ref(),
            None => self.wake_task(),
        }
    }
}

impl SharedGuest {
    /// A guest that nobody has polled yet.
    pub(crate) fn new(guest: GuestFuture) -> Self {
        let relay = Arc::<Relay>::default();
        let waker = relay.clone().into();
        let (killed, gone) = Default::default();
        Self { guest: Mutex::new(Some(guest)), relay, waker, killed, gone }
    }

    /// Says that there is something for it. Whoever says so polls it, or has it polled.
    pub(crate) fn mark(&self) {
        self.relay.woken.store(true, Ordering::SeqCst);
    }

    /// Whether there is something for it.
    pub(crate) fn is_woken(&self) -> bool {
        self.relay.is_woken()
    }

    /// Has its task poll it.
    pub(crate) fn wake_task(&self) {
        self.mark();
        self.relay.wake_task();
    }

    /// Whether a poll is under way.
    pub(crate) fn is_polled(&self) -> bool {
        self.relay.polled.load(Ordering::SeqCst)
    }

    /// Polls it for an exchange, if it has been woken. `is_alone` says whether the exchange is the only one.
    pub(crate) fn poll_for_exchange(&self, cx: &Context<'_>, is_alone: impl Fn() -> bool) {
        self.listen(cx.waker(), &is_alone);
        for _ in 0..ROUNDS {
            if !self.relay.is_woken() || self.is_gone() {
                return;
            }
            if !self.try_poll() {
                if !self.relay.leave_to_poller() {
                    self.relay.wake_task();
                }
                return;
            }
        }
        self.relay.wake_task();
    }

    /// Sets whom it wakes.
    fn listen(&self, waker: &Waker, is_alone: &impl Fn() -> bool) {
        let mut exchange = self.relay.exchange();
        if !is_alone() {
            *exchange = None;
        } else if !exchange.as_ref().is_some_and(|before| before.will_wake(waker)) {
            *exchange = Some(waker.clone());
        }
    }

    /// An exchange leaves. From now on its task is woken.
    pub(crate) fn leave(&self) {
        drop(self.relay.exchange().take());
        if self.relay.is_woken() {
            self.relay.wake_task();
        }
    }

    /// Polls it for its task, if it has been woken. Ready when it is gone.
    pub(crate) fn poll_for_task(&self, cx: &Context<'_>) -> Poll<()> {
        self.relay.task.get_or_init(|| cx.waker().clone());
        for _ in 0..ROUNDS {
            if self.is_gone() {
                return Poll::Ready(());
            }
            if !self.relay.is_woken() {
                return Poll::Pending;
            }
            if !self.try_poll() {
                if !self.relay.leave_to_poller() {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends it here and now, or, if someone is polling it, right after that poll.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        self.mark();
        // A guest that panics while a panic unwinds would end the process; its task drops it.
        if !std::thread::panicking()
            && let Some(mut guest) = self.try_lock()
        {
            self.end(&mut guest);
        }
        self.relay.wake_task();
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// None while someone else has it.
    fn try_lock(&self) -> Option<MutexGuard<'_, Option<GuestFuture>>> {
        match self.guest.try_lock() {
            Ok(guest) => Some(guest),
            Err(TryLockError::Poisoned(panicked)) => {
                self.killed.store(true, Ordering::SeqCst);
                Some(panicked.into_inner())
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Polls it, or ends it if it was killed. False while someone else polls it.
    fn try_poll(&self) -> bool {
        let Some(mut guest) = self.try_lock() else { return false };
        self.relay.polled.store(true, Ordering::SeqCst);
        self.relay.woken.store(false, Ordering::SeqCst);
        let is_over = self.killed.load(Ordering::SeqCst)
            || guest.as_mut().is_none_or(|guest| {
                guest.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready()
            });
        if is_over {
            self.end(&mut guest);
            self.relay.wake_task();
        }
        self.relay.polled.store(false, Ordering::SeqCst);
        true
    }

    fn end(&self, guest: &mut Option<GuestFuture>) {
        drop(guest.take());
        self.gone.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[path = "shared_guest_tests.rs"]
mod tests;
