//! Handshakes under way: as many as there may be. The one that has been under way longest makes room for who comes.
//!
//! They have places of their own among the connections, so that a flood of them turns out each other and no connection
//! that has been served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The handshakes under way in the process.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// By the order in which they began.
    all: BTreeMap<u64, Arc<Notify>>,
}

/// One handshake. Dropping it says that it is over.
#[derive(Debug)]
pub(super) struct Handshake<'a> {
    among: &'a HalfOpen,
    number: u64,
    turned_out: Arc<Notify>,
}

impl HalfOpen {
    /// Room for `most` at once, and for one at least.
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), open: Mutex::default() }
    }

    /// A handshake begins. Where there are too many, the oldest is turned out.
    pub(super) fn begin(&self) -> Handshake<'_> {
        let turned_out = Arc::new(Notify::new());
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        open.all.insert(number, turned_out.clone());
        if open.all.len() > self.most
            && let Some((_, oldest)) = open.all.pop_first()
        {
            oldest.notify_one();
        }
        Handshake { among: self, number, turned_out }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handshake<'_> {
    /// Waits until it has to make room. Cancel-safe.
    pub(super) async fn turned_out(&self) {
        self.turned_out.notified().await;
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.among.open().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_oldest_handshake_makes_room_and_no_other_one() {
        let half_open = HalfOpen::new(2);
        let is_out = |one: &Handshake<'_>| one.turned_out().now_or_never().is_some();
        let (first, second) = (half_open.begin(), half_open.begin());
        assert!(!is_out(&first) && !is_out(&second));
        let third = half_open.begin();
        assert!(is_out(&first) && !is_out(&second) && !is_out(&third));
        drop(second);
        // The first one is still about to leave, and does not count any more.
        let fourth = half_open.begin();
        assert!(!is_out(&third) && !is_out(&fourth));
        drop((first, third, fourth));
        assert!(half_open.open().all.is_empty());
    }
}
