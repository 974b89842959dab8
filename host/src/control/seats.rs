//! Who is in: so many at once, and when one more comes, who has been waited for longest goes. Peers that
//! send half a request, or none, can keep nobody out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::pace::Pace;
use crate::shortage::{PastShortage, Shortage};

/// The seats of a server. Clones are the same ones.
#[derive(Clone, Debug)]
pub(super) struct Seats(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What the log calls the server.
    name: &'static str,
    most: usize,
    next: AtomicU64,
    taken: Mutex<Vec<Taken>>,
    crowded: Shortage,
}

#[derive(Debug)]
struct Taken {
    number: u64,
    pace: Pace,
    leave: CancellationToken,
}

/// The right to be in. Dropping it gives it to the next one.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    seats: Seats,
    /// Cancelled when somebody else needs it more.
    pub(super) leave: CancellationToken,
}

impl Seats {
    pub(super) fn new(name: &'static str, most: usize) -> Self {
        let (next, taken, crowded) = (AtomicU64::new(0), Mutex::default(), Shortage::default());
        Self(Arc::new(Inner { name, most, next, taken, crowded }))
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one in whose connection is at `pace`; who has kept us waiting longest goes for it, if there
    /// are as many as may be. Who is being worked for stays: then there is one more, up to twice as many.
    pub(super) fn take(&self, pace: &Pace, end: &CancellationToken) -> Option<Seat> {
        let Inner { name, most, next, crowded, .. } = &*self.0;
        let mut taken = self.taken();
        while taken.len() >= *most {
            let waited_for = taken.iter().enumerate().filter_map(|(index, taken)| {
                let since = taken.pace.waits_since()?;
                Some((since, index))
            });
            if crowded.met() {
                warn!(most, "{name}: crowded; who keeps it waiting longest is turned out");
            }
            match waited_for.min() {
                Some((_, longest)) => taken.remove(longest).leave.cancel(),
                None if taken.len() < 2 * most => break,
                None => return None,
            }
        }
        let number = next.fetch_add(1, Ordering::Relaxed);
        let leave = end.child_token();
        taken.push(Taken { number, pace: pace.clone(), leave: leave.clone() });
        drop(taken);
        Some(Seat { number, seats: self.clone(), leave })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Inner { name, most, crowded, .. } = &*self.seats.0;
        let mut taken = self.seats.taken();
        taken.retain(|taken| taken.number != self.number);
        // Not at the first one that leaves: the next one comes at once.
        let calm = taken.len() <= most / 2;
        drop(taken);
        if calm && let Some(PastShortage { lasted, times }) = crowded.over() {
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
    async fn who_is_waited_for_longest_goes_and_who_is_worked_for_stays() {
        let (seats, end) = (Seats::new("test", 3), CancellationToken::new());
        let mut in_there = Vec::new();
        let enter = || {
            let pace = Pace::begin();
            let seat = seats.take(&pace, &end).unwrap();
            (pace, seat.leave.clone(), seat)
        };
        for _ in 0..3 {
            in_there.push(enter());
            sleep(Duration::from_millis(1)).await;
        }
        in_there[0].0.works();
        in_there.push(enter());
        let gone = |in_there: &[(Pace, CancellationToken, Seat)]| {
            in_there.iter().map(|(_, leave, _)| leave.is_cancelled()).collect::<Vec<_>>()
        };
        assert_eq!(gone(&in_there), [false, true, false, false]);
        in_there.push(enter());
        assert_eq!(gone(&in_there), [false, true, true, false, false]);
        for expected in 4..=6 {
            in_there.iter().for_each(|(pace, ..)| pace.works());
            in_there.push(enter());
            assert_eq!(gone(&in_there).iter().filter(|gone| !**gone).count(), expected);
        }
        in_there.iter().for_each(|(pace, ..)| pace.works());
        assert!(seats.take(&Pace::begin(), &end).is_none(), "twice as many are all there is");
        end.cancel();
        assert!(gone(&in_there).iter().all(|gone| *gone), "all end with the server");
        in_there.clear();
        assert!(seats.taken().is_empty());
    }
}
