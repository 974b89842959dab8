//! A state that the log tells of when it begins and when it is over, however often it is met between.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// It is over when it has not been met for so long: one that frees a descriptor, which the next one takes,
/// ends no shortage.
const QUIET: Duration = Duration::from_secs(1);

/// A state that comes and goes. Begins as over.
#[derive(Debug, Default)]
pub struct Shortage(Mutex<Option<Met>>);

#[derive(Clone, Copy, Debug)]
struct Met {
    since: Instant,
    last: Instant,
    times: u64,
}

/// What there was of a shortage that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastShortage {
    /// How long it lasted.
    pub lasted: Duration,
    /// How often it was met.
    pub times: u64,
}

impl Shortage {
    /// It is met. True if it begins.
    pub fn met(&self) -> bool {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match &mut *met {
            Some(met) => {
                (met.last, met.times) = (now, met.times + 1);
                false
            }
            None => {
                *met = Some(Met { since: now, last: now, times: 1 });
                true
            }
        }
    }

    /// It is not met now. What there was of it, if that is the end of it.
    pub fn take_past(&self) -> Option<PastShortage> {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Met { since, last, times } = met.take_if(|met| met.last.elapsed() >= QUIET)?;
        Some(PastShortage { lasted: last - since, times })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_told_of_once_and_counted() {
        let shortage = Shortage::default();
        assert_eq!(shortage.take_past(), None);
        assert!(shortage.met());
        sleep(Duration::from_secs(3)).await;
        assert!(!shortage.met());
        assert_eq!(shortage.take_past(), None, "the next one may meet it again");
        sleep(QUIET).await;
        assert_eq!(
            shortage.take_past(),
            Some(PastShortage { lasted: Duration::from_secs(3), times: 2 })
        );
        assert_eq!(shortage.take_past(), None);
        assert!(shortage.met(), "it begins anew");
    }
}
