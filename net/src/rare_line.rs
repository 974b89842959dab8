//! Lines of the log with which strangers could fill it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines of one kind: strangers may come by thousands.
const PAUSE: Duration = Duration::from_secs(60);

/// A kind of line that is written once a minute at most.
#[derive(Debug, Default)]
pub(super) struct RareLine {
    unsaid: AtomicU64,
    said: Mutex<Option<Instant>>,
}

impl RareLine {
    /// It has happened once more. Gives how often since the last line, where another one is to be written.
    pub(super) fn next(&self) -> Option<u64> {
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if said.is_some_and(|said| now < said + PAUSE) {
            return None;
        }
        *said = Some(now);
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_said_once_a_minute_with_how_often() {
        let line = RareLine::default();
        assert_eq!([line.next(), line.next(), line.next()], [Some(1), None, None]);
        tokio::time::advance(PAUSE).await;
        assert_eq!([line.next(), line.next()], [Some(3), None]);
    }
}
