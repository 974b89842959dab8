//! Puts a component aside that keeps failing: its requests are refused at once for a while, so that
//! nobody waits for what fails anyway.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counts the failures of one generation of a component.
pub struct Breaker {
    rule: host_manifest::BreakerConfig,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: VecDeque<Instant>,
    open_until: Option<Instant>,
}

/// What a breaker does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Requests pass.
    Closed,
    /// Requests are refused, for so long from now.
    Open(Duration),
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(rule: host_manifest::BreakerConfig) -> Self {
        Self { rule, state: Mutex::default() }
    }

    /// Whether requests pass. When the pause is over they do again, and failures count anew.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let mut state = self.state();
        let now = Instant::now();
        match state.open_until {
            Some(until) if until > now => Standing::Open(until - now),
            Some(_) => {
                *state = State::default();
                Standing::Closed
            }
            None => Standing::Closed,
        }
    }

    /// The guest has failed. True if that opens the breaker.
    pub fn failed(&self) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        // What was under way when it opened.
        if state.open_until.is_some() {
            return false;
        }
        state.failures.push_back(now);
        while state.failures.front().is_some_and(|first| now - *first > self.rule.within) {
            state.failures.pop_front();
        }
        let opens = state.failures.len() >= self.rule.failures as usize;
        if opens {
            state.open_until = Some(now + self.rule.pause);
            state.failures.clear();
        }
        opens
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("rule", &self.rule).finish_non_exhaustive()
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
        let breaker = Breaker::new(rule);
        assert!(!breaker.failed());
        assert!(!breaker.failed());
        advance(11 * second).await;
        assert!(!breaker.failed(), "the first two are too long ago");
        assert!(!breaker.failed());
        assert_eq!(breaker.standing(), Standing::Closed);
        assert!(breaker.failed());
        assert_eq!(breaker.standing(), Standing::Open(30 * second));
        advance(29 * second).await;
        assert!(!breaker.failed(), "what was under way does not make the pause longer");
        assert_eq!(breaker.standing(), Standing::Open(second));
        advance(second).await;
        assert_eq!(breaker.standing(), Standing::Closed);
        assert!(!breaker.failed(), "failures count anew");
    }
}
