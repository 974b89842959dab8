//! Whether a peer takes what it is owed: some of it now and then, and not less than the least rate.
//! Pure: moments come in.
//!
//! What a peer takes buys it time: a window of the rate for as many bytes as a window asks for. So the rate
//! holds over the whole of an answer, however unevenly bytes are seen to go.

use host_clock::MinRate;
use tokio::time::{Duration, Instant};

/// The kernel tells of what a peer has taken in steps: as large as a segment on loopback, whatever the pace of
/// the peer. So much may buy time ahead.
const STEP: u64 = 64 * 1024;

/// From the first byte that the kernel does not take until all is taken.
#[derive(Debug)]
pub(super) struct OutRate {
    stall: Duration,
    least: Option<MinRate>,
    blocked: Option<Blocked>,
}

#[derive(Clone, Copy, Debug)]
struct Blocked {
    /// When the kernel last took a byte, or first took none.
    moved: Instant,
    /// How long what was taken lasts.
    paid: Instant,
    /// Bytes taken that make no window yet.
    taken: u64,
}

impl OutRate {
    pub(super) fn new(stall: Duration, least: Option<MinRate>) -> Self {
        Self { stall, least, blocked: None }
    }

    /// The kernel takes no more bytes.
    pub(super) fn blocked(&mut self, now: Instant) {
        let first = self.least.map_or(Duration::ZERO, |least| least.grace + least.window);
        self.blocked.get_or_insert(Blocked { moved: now, paid: now + first, taken: 0 });
    }

    /// The kernel has taken so many bytes since it was last asked.
    pub(super) fn wrote(&mut self, now: Instant, bytes: usize) {
        let Some(blocked) = &mut self.blocked else { return };
        if bytes == 0 {
            return;
        }
        blocked.moved = now;
        let Some(least) = &self.least else { return };
        let window = least.of_a_window().max(1);
        let ahead = u32::try_from(STEP / window).unwrap_or(u32::MAX);
        let most = now + least.grace + least.window.saturating_mul(ahead.saturating_add(1));
        blocked.taken += bytes as u64;
        let windows = u32::try_from(blocked.taken / window).unwrap_or(u32::MAX);
        blocked.taken %= window;
        let bought = least.window.saturating_mul(windows);
        blocked.paid = blocked.paid.checked_add(bought).map_or(most, |paid| paid.min(most));
    }

    /// All is taken. Gives whether something had been held up.
    pub(super) fn flushed(&mut self) -> bool {
        self.blocked.take().is_some()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// When the peer is given up, unless it takes more until then. In a hurry it has its grace and what it has
    /// bought, and no longer than the grace while it takes nothing: what a large step of the kernel has bought
    /// may be what its own kernel has taken, and it reads nothing of that.
    pub(super) fn deadline(&self, hurry: bool) -> Option<Instant> {
        let blocked = self.blocked?;
        let stalled = blocked.moved + self.stall;
        let Some(least) = &self.least else { return Some(stalled) };
        if !hurry {
            return Some(stalled.min(blocked.paid));
        }
        let left = least.window.saturating_sub(least.time_for(blocked.taken));
        let paid = blocked.paid.checked_sub(left).unwrap_or(blocked.paid);
        Some(stalled.min(paid).min(blocked.moved + least.grace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LEAST: MinRate = MinRate {
        bytes_per_second: 100,
        window: Duration::from_secs(10),
        grace: Duration::from_secs(5),
    };

    fn rate() -> OutRate {
        OutRate::new(30 * SECOND, Some(LEAST))
    }

    #[test]
    fn a_peer_that_takes_nothing_is_given_up_after_grace_and_window() {
        let (mut rate, began) = (rate(), Instant::now());
        assert_eq!(rate.deadline(false), None);
        rate.blocked(began);
        assert_eq!(rate.deadline(false), Some(began + 15 * SECOND));
        let mut only_stall = OutRate::new(30 * SECOND, None);
        only_stall.blocked(began);
        assert_eq!(only_stall.deadline(false), Some(began + 30 * SECOND));
    }

    #[test]
    fn a_peer_that_takes_enough_in_each_window_is_never_given_up() {
        let (mut rate, began) = (rate(), Instant::now());
        rate.blocked(began);
        for second in 1..200 {
            let now = began + second * SECOND;
            assert!(rate.deadline(false).is_some_and(|until| until > now), "at {second}");
            rate.wrote(now, 100);
            rate.blocked(now);
        }
    }

    #[test]
    fn a_peer_that_takes_a_byte_now_and_then_is_given_up() {
        for every in [1, 3, 7, 14] {
            let (mut rate, began) = (rate(), Instant::now());
            rate.blocked(began);
            let mut now = began + every * SECOND;
            while rate.deadline(false).is_some_and(|until| until > now) {
                rate.wrote(now, 1);
                now += every * SECOND;
            }
            assert_eq!(rate.deadline(false), Some(began + 15 * SECOND), "a byte every {every} s");
        }
    }

    /// Clients that took hundreds of times the least rate were given up: the kernel told of it once in
    /// twenty seconds.
    #[test]
    fn what_the_kernel_tells_in_large_steps_counts_for_the_time_that_it_took() {
        for (bytes_per_second, step) in [(150, 16_000), (5_000, 64_000), (60_000, 64_000)] {
            let (mut rate, began) = (OutRate::new(900 * SECOND, Some(LEAST)), Instant::now());
            rate.blocked(began);
            rate.wrote(began, 1_000);
            let every = SECOND * step / bytes_per_second;
            // The first of them is said to be taken when the grace is over, at the latest.
            let mut now = began + every.min(10 * SECOND);
            for _ in 0..100 {
                assert!(
                    rate.deadline(false).is_some_and(|until| until > now),
                    "{bytes_per_second}"
                );
                rate.wrote(now, step as usize);
                now += every;
            }
        }
    }

    #[test]
    fn a_burst_buys_no_more_than_the_steps_of_a_kernel() {
        let (mut rate, began) = (OutRate::new(900 * SECOND, Some(LEAST)), Instant::now());
        rate.blocked(began);
        rate.wrote(began, 1 << 30);
        assert_eq!(rate.deadline(false), Some(began + 15 * SECOND + 650 * SECOND));
    }

    #[test]
    fn in_a_hurry_there_is_the_grace_and_what_was_bought() {
        let (mut rate, began) = (rate(), Instant::now());
        rate.blocked(began);
        assert_eq!(rate.deadline(true), Some(began + 5 * SECOND));
        let later = began + 4 * SECOND;
        rate.wrote(later, 100);
        assert_eq!(rate.deadline(true), Some(began + 6 * SECOND), "a second's worth");
        rate.wrote(later, 1 << 20);
        assert_eq!(rate.deadline(true), Some(later + 5 * SECOND), "and then nothing");
        for second in 4..200 {
            let now = began + second * SECOND;
            assert!(rate.deadline(true).is_some_and(|until| until > now), "fast enough");
            rate.wrote(now, 100);
        }
    }

    #[test]
    fn what_was_taken_in_full_counts_no_more() {
        let (mut rate, began) = (rate(), Instant::now());
        rate.blocked(began);
        assert!(rate.flushed() && !rate.flushed());
        assert_eq!(rate.deadline(false), None);
    }
}
