//! Whether a peer takes what it is owed: some of it now and then, and not less than the least rate.
//! Pure: moments come in.

use host_manifest::MinRate;
use tokio::time::{Duration, Instant};

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
    /// When the window of the rate begins: the first one after the grace.
    window: Instant,
    /// Bytes taken since the end of the window before.
    taken: u64,
}

impl OutRate {
    pub(super) fn new(stall: Duration, least: Option<MinRate>) -> Self {
        Self { stall, least, blocked: None }
    }

    /// The kernel takes no more bytes.
    pub(super) fn blocked(&mut self, now: Instant) {
        let grace = self.least.map_or(Duration::ZERO, |least| least.grace);
        self.blocked.get_or_insert(Blocked { moved: now, window: now + grace, taken: 0 });
    }

    /// The kernel has taken so many bytes.
    pub(super) fn wrote(&mut self, now: Instant, bytes: usize) {
        let Some(blocked) = &mut self.blocked else { return };
        blocked.moved = now;
        if let Some(least) = &self.least
            && now >= blocked.window + least.window
        {
            // Who was too slow until now has been given up: windows follow one another.
            blocked.window = now;
            blocked.taken = 0;
        }
        blocked.taken += bytes as u64;
    }

    /// All is taken. Gives whether something had been held up.
    pub(super) fn flushed(&mut self) -> bool {
        self.blocked.take().is_some()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// When the peer is given up, unless it takes more until then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let blocked = self.blocked?;
        let stalled = blocked.moved + self.stall;
        let Some(least) = &self.least else { return Some(stalled) };
        let end = blocked.window + least.window;
        let enough = blocked.taken >= least.of_a_window();
        // A window that is full already is followed by one that has to be filled as well.
        Some(stalled.min(if enough { end + least.window } else { end }))
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
        assert_eq!(rate.deadline(), None);
        rate.blocked(began);
        assert_eq!(rate.deadline(), Some(began + 15 * SECOND));
        let mut only_stall = OutRate::new(30 * SECOND, None);
        only_stall.blocked(began);
        assert_eq!(only_stall.deadline(), Some(began + 30 * SECOND));
    }

    #[test]
    fn a_peer_that_takes_enough_in_each_window_is_never_given_up() {
        let (mut rate, began) = (rate(), Instant::now());
        rate.blocked(began);
        for second in 1..200 {
            let now = began + second * SECOND;
            assert!(rate.deadline().is_some_and(|until| until > now), "at {second}");
            rate.wrote(now, 100);
            rate.blocked(now);
        }
    }

    #[test]
    fn a_peer_that_takes_a_byte_now_and_then_is_given_up() {
        let (mut rate, began) = (rate(), Instant::now());
        rate.blocked(began);
        let mut now = began;
        while rate.deadline().is_some_and(|until| until > now) {
            rate.wrote(now, 1);
            now += SECOND;
        }
        assert_eq!(now, began + 15 * SECOND);
    }

    #[test]
    fn what_was_taken_in_full_counts_no_more() {
        let (mut rate, began) = (rate(), Instant::now());
        rate.blocked(began);
        assert!(rate.flushed() && !rate.flushed());
        assert_eq!(rate.deadline(), None);
    }
}
