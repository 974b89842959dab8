//! The first request that a plugin passes on, where its exchange polls what serves it (docs/adr/0041).

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Context;

/// Serves a request that a plugin has passed on. Dropping it ends that.
pub(super) type Hop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the exchange of a plugin polls after the plugin, once.
#[derive(Default)]
pub(super) struct FirstHop {
    /// Until the exchange polls it.
    hop: Mutex<Option<Hop>>,
    /// The exchange looks here after each poll of the plugin. Nobody else polls that plugin, so none of its requests
    /// comes while nobody looks.
    is_awaited: AtomicBool,
}

impl FirstHop {
    /// The exchange is going to poll its plugin, and is the only one that does.
    pub(super) fn begin(&self) {
        self.is_awaited.store(true, Ordering::Relaxed);
    }

    /// Keeps this hop for the exchange. One that the exchange does not wait for goes on in a task of its own.
    pub(super) fn offer(&self, hop: Hop) {
        if self.is_awaited.load(Ordering::Relaxed) {
            *self.lock() = Some(hop);
        } else {
            tokio::spawn(hop);
        }
    }

    /// Polls it. If it is not done, it goes on in a task of its own. Call it after each poll of the plugin.
    pub(super) fn poll(&self, cx: &mut Context<'_>) {
        let Some(mut hop) = self.lock().take() else { return };
        if hop.as_mut().poll(cx).is_pending() {
            tokio::spawn(hop);
        }
    }

    /// The exchange polls it no more.
    pub(super) fn end(&self) {
        self.is_awaited.store(false, Ordering::Relaxed);
        if let Some(hop) = self.lock().take() {
            tokio::spawn(hop);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Hop>> {
        self.hop.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    fn hop() -> (Hop, oneshot::Receiver<()>) {
        let (served, is_served) = oneshot::channel();
        (Box::pin(async { served.send(()).unwrap() }), is_served)
    }

    /// Another exchange polled the plugin, on an instance that they share. So nobody looked, and the request waited
    /// for its deadline.
    #[tokio::test]
    async fn one_that_no_exchange_looks_for_is_served_all_the_same() {
        let first = FirstHop::default();
        let (hop, is_served) = hop();
        first.offer(hop);
        is_served.await.unwrap();
    }

    #[tokio::test]
    async fn exchange_serves_it_in_its_own_poll_or_leaves_it_to_a_task() {
        let first = FirstHop::default();
        first.begin();
        let (polled, mut is_served) = hop();
        first.offer(polled);
        tokio::task::yield_now().await;
        assert!(is_served.try_recv().is_err(), "not before");
        first.poll(&mut Context::from_waker(Waker::noop()));
        is_served.try_recv().unwrap();
        let (left, is_served) = hop();
        first.offer(left);
        first.end();
        is_served.await.unwrap();
    }
}
