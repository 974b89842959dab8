//! The circuit breaker of a component. A component that keeps failing is put aside: its requests are
//! refused at once for a while, so that no request waits for an answer that would fail anyway.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counts the failures of one generation of a component.
pub struct CircuitBreaker {
    rule: host_manifest::BreakerConfig,
    /// Whether there is a moment until which it is open. Each request asks, and takes no lock as long as there
    /// is none.
    is_open: AtomicBool,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    failures: VecDeque<Instant>,
    open_until: Option<Instant>,
}

/// What a breaker does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests pass.
    Closed,
    /// Requests are refused, for so long from now.
    Open(Duration),
}

impl CircuitBreaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(rule: host_manifest::BreakerConfig) -> Self {
        Self { rule, is_open: AtomicBool::new(false), counts: Mutex::default() }
    }

    /// Whether requests pass. After the pause they do again, and failures count anew.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        if !self.is_open.load(Ordering::Acquire) {
            return BreakerState::Closed;
        }
        let mut counts = self.counts();
        let now = Instant::now();
        match counts.open_until {
            Some(until) if until > now => BreakerState::Open(until - now),
            Some(_) => {
                *counts = Counts::default();
                self.is_open.store(false, Ordering::Release);
                BreakerState::Closed
            }
            None => BreakerState::Closed,
        }
    }

    /// Counts a failure of the guest. True if that opens the breaker.
    pub fn count_failure(&self) -> bool {
        let mut counts = self.counts();
        let now = Instant::now();
        // It was under way when the breaker opened.
        if counts.open_until.is_some() {
            return false;
        }
        counts.failures.push_back(now);
        while counts.failures.front().is_some_and(|first| now - *first > self.rule.within) {
            counts.failures.pop_front();
        }
        let opens = counts.failures.len() >= self.rule.failures as usize;
        if opens {
            counts.open_until = Some(now + self.rule.pause);
            self.is_open.store(true, Ordering::Release);
            counts.failures.clear();
        }
        opens
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker").field("rule", &self.rule).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_at_the_rate_and_closes_by_itself() {
        let second = Duration::from_secs(1);
        let rule =
            host_manifest::BreakerConfig { failures: 3, within: 10 * second, pause: 30 * second };
        let breaker = CircuitBreaker::new(rule);
        assert!(!breaker.count_failure());
        assert!(!breaker.count_failure());
        advance(11 * second).await;
        assert!(!breaker.count_failure(), "the first two are too long ago");
        assert!(!breaker.count_failure());
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(breaker.count_failure());
        assert_eq!(breaker.state(), BreakerState::Open(30 * second));
        advance(29 * second).await;
        assert!(!breaker.count_failure(), "what was under way does not make the pause longer");
        assert_eq!(breaker.state(), BreakerState::Open(second));
        advance(second).await;
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(!breaker.count_failure(), "failures count anew");
    }
}
