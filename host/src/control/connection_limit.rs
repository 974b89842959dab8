//! How many connections a server has at once. When one more comes, the connection whose peer has been waited
//! for longest is closed: peers that send half a request, or none, can keep no operator out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_system::shortage::{PastShortage, Shortage};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::deadlines::Deadlines;

/// The limit of one server. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct ConnectionLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What the log calls the server.
    name: &'static str,
    most: usize,
    next: AtomicU64,
    open: Mutex<Vec<OpenConnection>>,
    crowded: Shortage,
}

#[derive(Debug)]
struct OpenConnection {
    number: u64,
    deadlines: Deadlines,
    close: CancellationToken,
}

/// The right to one connection. Dropping it gives it to the next one.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    number: u64,
    limit: ConnectionLimit,
    /// Cancelled when another connection takes its place, or the server ends.
    pub(super) close: CancellationToken,
}

impl ConnectionLimit {
    pub(super) fn new(name: &'static str, most: usize) -> Self {
        let (next, open, crowded) = (AtomicU64::new(0), Mutex::default(), Shortage::default());
        Self(Arc::new(Inner { name, most, next, open, crowded }))
    }

    fn open(&self) -> MutexGuard<'_, Vec<OpenConnection>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit for a connection with these deadlines. At the limit, the connection whose peer has been
    /// waited for longest is closed for it. A connection whose request is being carried out stays: if all
    /// are at that, there is one more, up to twice as many. None beyond.
    pub(super) fn admit(
        &self,
        deadlines: &Deadlines,
        end: &CancellationToken,
    ) -> Option<ConnectionPermit> {
        let Inner { name, most, next, crowded, .. } = &*self.0;
        let mut open = self.open();
        while open.len() >= *most {
            let waiting = open.iter().enumerate().filter_map(|(index, open)| {
                let since = open.deadlines.waiting_since()?;
                Some((since, index))
            });
            if crowded.met() {
                warn!(most, "{name}: crowded; who keeps it waiting longest is turned out");
            }
            match waiting.min() {
                Some((_, longest)) => open.remove(longest).close.cancel(),
                None if open.len() < 2 * most => break,
                None => return None,
            }
        }
        let number = next.fetch_add(1, Ordering::Relaxed);
        let close = end.child_token();
        let deadlines = deadlines.clone();
        open.push(OpenConnection { number, deadlines, close: close.clone() });
        drop(open);
        Some(ConnectionPermit { number, limit: self.clone(), close })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let Inner { name, most, crowded, .. } = &*self.limit.0;
        let mut open = self.limit.open();
        open.retain(|open| open.number != self.number);
        // Not at the first one that leaves: the next one comes at once.
        let calm = open.len() <= most / 2;
        drop(open);
        if calm && let Some(PastShortage { lasted, times }) = crowded.take_past() {
            info!(?lasted, turned_out = times, "{name}: not crowded any more");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connection_that_is_waited_for_longest_is_closed_and_one_at_work_stays() {
        let (limit, end) = (ConnectionLimit::new("test", 3), CancellationToken::new());
        let mut open = Vec::new();
        let admit = || {
            let deadlines = Deadlines::start();
            let permit = limit.admit(&deadlines, &end).unwrap();
            (deadlines, permit.close.clone(), permit)
        };
        for _ in 0..3 {
            open.push(admit());
            sleep(Duration::from_millis(1)).await;
        }
        open[0].0.request_received();
        open.push(admit());
        let closed = |open: &[(Deadlines, CancellationToken, ConnectionPermit)]| {
            open.iter().map(|(_, close, _)| close.is_cancelled()).collect::<Vec<_>>()
        };
        assert_eq!(closed(&open), [false, true, false, false]);
        open.push(admit());
        assert_eq!(closed(&open), [false, true, true, false, false]);
        for expected in 4..=6 {
            open.iter().for_each(|(deadlines, ..)| deadlines.request_received());
            open.push(admit());
            assert_eq!(closed(&open).iter().filter(|closed| !**closed).count(), expected);
        }
        open.iter().for_each(|(deadlines, ..)| deadlines.request_received());
        assert!(limit.admit(&Deadlines::start(), &end).is_none(), "twice as many are all there is");
        end.cancel();
        assert!(closed(&open).iter().all(|closed| *closed), "all end with the server");
        open.clear();
        assert!(limit.open().is_empty());
    }
}
