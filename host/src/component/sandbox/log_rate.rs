//! A token bucket for the bytes that all instances of a generation together may add to the log.
//!
//! Nothing waits for it: lines without room are left out and counted, and now and then the log says how
//! many there were.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

/// Bytes that the log puts before a guest's line: time, level, component.
const PREFIX: u64 = 100;

/// The log says at most this often that lines were left out.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The bucket of one generation. Dropping it logs the lines left out that are not logged yet.
#[derive(Debug)]
pub(crate) struct LogRate {
    component: Arc<str>,
    /// Bytes per second, and the burst. None for no bound.
    rate: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes in the bucket; below 0 when the last line was larger than that.
    left: i64,
    /// The time of that level.
    at: Instant,
    left_out: u64,
    reported: Option<Instant>,
}

impl LogRate {
    /// A full bucket with this rate in bytes per second.
    pub(crate) fn new(component: Arc<str>, rate: Option<u64>) -> Self {
        let left = signed(rate.unwrap_or_default());
        let state = State { left, at: Instant::now(), left_out: 0, reported: None };
        Self { component, rate, state: Mutex::new(state) }
    }

    /// The component.
    pub(crate) fn component(&self) -> &str {
        &self.component
    }

    /// Whether a line may be printed. After printing it, [charge](Self::charge) it.
    pub(crate) fn is_there(&self) -> bool {
        let Some(rate) = self.rate else { return true };
        let mut state = self.state();
        let now = Instant::now();
        let since = now.saturating_duration_since(state.at);
        let fresh =
            since.as_nanos().saturating_mul(rate.into()) / Duration::from_secs(1).as_nanos();
        // Parts of a byte go on growing.
        if fresh > 0 {
            let full = signed(rate);
            let fresh = i64::try_from(fresh).unwrap_or(i64::MAX);
            (state.left, state.at) = (state.left.saturating_add(fresh).min(full), now);
        }
        state.left > 0
    }

    /// Takes a printed line of `text` bytes out of the bucket.
    pub(crate) fn charge(&self, text: usize) {
        let mut state = self.state();
        state.left = state.left.saturating_sub(signed(PREFIX + text as u64));
    }

    /// Counts lines that found no room.
    pub(crate) fn leave_out(&self, lines: u64) {
        self.state().left_out += lines;
        self.say_if_due();
    }

    /// Logs how many lines were left out, if there were any and it is time to.
    pub(crate) fn say_if_due(&self) {
        let due = self.state().due();
        self.say(due);
    }

    fn say(&self, lines: u64) {
        if lines > 0 {
            let (component, rate) = (self.component(), self.rate);
            warn!(target: "guest", component, lines, rate, "more than log-rate: lines left out");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The number of lines to report now.
    fn due(&mut self) -> u64 {
        let now = Instant::now();
        let early = |reported| now.saturating_duration_since(reported) < SAY_EVERY;
        if self.left_out == 0 || self.reported.is_some_and(early) {
            return 0;
        }
        self.reported = Some(now);
        std::mem::take(&mut self.left_out)
    }
}

impl Drop for LogRate {
    fn drop(&mut self) {
        let rest = std::mem::take(&mut self.state().left_out);
        self.say(rest);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: usize = 900;

    /// Prints as many lines as find room now.
    fn print(room: &LogRate) -> u64 {
        let mut lines = 0;
        while room.is_there() {
            room.charge(LINE);
            lines += 1;
        }
        lines
    }

    #[tokio::test(start_paused = true)]
    async fn the_bucket_is_full_again_after_a_second() {
        let room = LogRate::new("test".into(), Some(10_000));
        assert_eq!(print(&room), 10);
        for (millis, lines) in [(0, 0), (50, 1), (50, 0), (1000, 10), (60_000, 10)] {
            tokio::time::advance(Duration::from_millis(millis)).await;
            assert_eq!(print(&room), lines, "after {millis} ms");
        }
    }

    /// Looks that come more often than bytes must not keep bytes from coming.
    #[tokio::test(start_paused = true)]
    async fn frequent_looks_do_not_reduce_the_rate() {
        let room = LogRate::new("test".into(), Some(100));
        assert_eq!(print(&room), 1);
        let mut looks = 0;
        while !room.is_there() {
            tokio::time::advance(Duration::from_millis(1)).await;
            looks += 1;
        }
        assert_eq!(looks, 9010, "a line of 1,000 bytes with its prefix, of which 100 were there");
    }

    #[tokio::test(start_paused = true)]
    async fn left_out_lines_are_reported_at_once_then_at_intervals_without_a_gap() {
        let room = LogRate::new("test".into(), Some(1));
        let due = |lines| {
            room.state().left_out += lines;
            room.state().due()
        };
        assert_eq!(due(0), 0);
        assert_eq!(due(1), 1);
        assert_eq!((due(2), due(3)), (0, 0));
        tokio::time::advance(SAY_EVERY).await;
        assert_eq!(due(0), 5);
        assert_eq!(due(0), 0);
    }

    #[test]
    fn without_a_rate_there_is_always_room() {
        let room = LogRate::new("test".into(), None);
        for _ in 0..1000 {
            room.charge(1 << 20);
        }
        assert!(room.is_there());
    }
}
