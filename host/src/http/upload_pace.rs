//! How fast a client sends while it is waited for.
//!
//! Only time in which its bytes are waited for is counted: a guest that does not read makes no client
//! slow.

use std::time::Duration;

use host_clock::MinRate;
use host_manifest::{LimitKey, LimitReached};

/// What a client owes yet of the window that it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct UploadPace {
    rate: MinRate,
    /// Of the window, or of the grace before the first one.
    left: Duration,
    /// Bytes; nothing is owed in the grace.
    owed: u64,
}

impl UploadPace {
    pub(super) fn new(rate: MinRate) -> Self {
        Self { rate, left: rate.grace, owed: 0 }
    }

    /// It was waited for so long.
    pub(super) fn waited(&mut self, time: Duration) {
        match self.left.checked_sub(time) {
            Some(left) if left > Duration::ZERO => self.left = left,
            _ => {
                // What it did not send in a window that is over was judged when that was over.
                let over = time.saturating_sub(self.left).as_millis();
                let into = over % self.rate.window.as_millis().max(1);
                let into = Duration::from_millis(u64::try_from(into).unwrap_or(0));
                (self.left, self.owed) = (self.rate.window - into, self.rate.of_a_window());
            }
        }
    }

    /// It has sent so many bytes.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.owed = self.owed.saturating_sub(bytes);
    }

    /// The same while others wait for what it holds up: the grace, and what it has sent lasts as long as the rate
    /// says.
    pub(super) fn patience_in_a_hurry(&self) -> Duration {
        self.left.saturating_sub(self.rate.time_for(self.owed))
    }

    /// The limit that a client reaches which is slower.
    pub(super) fn limit(&self) -> LimitReached {
        LimitKey::MinRate.rate(self.rate.bytes_per_second)
    }

    /// How long it may be waited for now while it sends nothing.
    pub(super) fn patience(&self) -> Duration {
        if self.owed > 0 { self.left } else { self.left + self.rate.window }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RATE: MinRate = MinRate {
        bytes_per_second: 240,
        window: Duration::from_secs(10),
        grace: Duration::from_secs(5),
    };

    /// A thousand clients that sent a byte every ten seconds had all instances for as long as they
    /// liked: no pause was long enough for the limit of pauses.
    #[test]
    fn a_byte_now_and_then_is_too_slow_within_grace_and_window() {
        for every in [1, 2, 4, 7, 14] {
            let (mut pace, mut waited) = (UploadPace::new(RATE), Duration::ZERO);
            while pace.patience() > every * SECOND {
                waited += every * SECOND;
                pace.waited(every * SECOND);
                pace.sent(1);
            }
            let cut = waited + pace.patience();
            assert!((15 * SECOND..=25 * SECOND).contains(&cut), "a byte every {every} s: {cut:?}");
        }
        assert_eq!(UploadPace::new(RATE).patience(), 15 * SECOND, "nothing at all");
    }

    #[test]
    fn who_sends_as_fast_as_asked_is_never_cut_and_may_pause() {
        let mut pace = UploadPace::new(RATE);
        for _ in 0..1000 {
            assert!(pace.patience() > SECOND);
            pace.waited(SECOND);
            pace.sent(240);
        }
        pace.sent(2400);
        assert!(pace.patience() > RATE.window, "what this window needs is here");
        pace.waited(pace.patience() - SECOND);
        assert_eq!(pace.patience(), SECOND);
        pace.sent(2399);
        assert_eq!(pace.patience(), SECOND);
        pace.sent(1);
        assert_eq!(pace.patience(), SECOND + RATE.window);
    }

    #[test]
    fn in_a_hurry_there_is_the_grace_and_what_was_sent() {
        let mut pace = UploadPace::new(RATE);
        assert_eq!(pace.patience_in_a_hurry(), RATE.grace);
        pace.waited(RATE.grace);
        assert_eq!(pace.patience_in_a_hurry(), Duration::ZERO);
        for _ in 0..1000 {
            pace.sent(240);
            assert!(pace.patience_in_a_hurry() >= SECOND, "as fast as asked");
            pace.waited(SECOND);
        }
    }

    #[test]
    fn a_burst_counts_for_its_own_window_only() {
        let mut pace = UploadPace::new(RATE);
        pace.sent(1 << 30);
        pace.waited(6 * SECOND);
        pace.sent(1 << 30);
        assert_eq!(pace.patience(), 19 * SECOND);
        pace.waited(9 * SECOND);
        assert_eq!(pace.patience(), 10 * SECOND);
        pace.waited(35 * SECOND);
        assert_eq!(pace.patience(), 5 * SECOND, "windows that nobody was there to judge");
    }
}
