//! How long pairs stay: moments, and who says what time it is.
//!
//! Moments are milliseconds since 1970, by the clock of the machine: they outlive the process. Redis
//! goes by the clock of its server, which all hosts that share it have in common.

#[cfg(test)]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::end::NEVER;
use crate::error::StoreError;

/// The last moment at which a pair may end, far away: numbers of Redis are whole up to here.
const LAST: u64 = (1 << 53) - 1;

/// Pairs that are freed in one step, so that it does not hold a store for long.
pub(crate) const MAX_FREED: usize = 1_000;

/// The moment at which a pair ends that is written now.
pub(crate) fn ends(now: u64, ttl: Option<u64>) -> u64 {
    ttl.map_or(NEVER, |ttl| now.saturating_add(ttl).min(LAST))
}

/// A time to live, in milliseconds.
pub(crate) fn millis(ttl: Duration) -> Result<u64, StoreError> {
    match u64::try_from(ttl.as_millis()) {
        Ok(0) => Err(StoreError::NoTimeToLive),
        Ok(millis) => Ok(millis.min(LAST)),
        Err(_) => Ok(LAST),
    }
}

/// What time it is.
#[derive(Clone, Debug, Default)]
pub(crate) enum TtlClock {
    #[default]
    Machine,
    /// Moved by a test.
    #[cfg(test)]
    Hand(Arc<AtomicU64>),
}

impl TtlClock {
    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::Machine => {
                let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(LAST)
            }
            #[cfg(test)]
            Self::Hand(now) => now.load(Ordering::SeqCst),
        }
    }

    /// What a server is told that has a clock of its own: nothing, but in tests.
    pub(crate) fn told(&self) -> Option<u64> {
        match self {
            Self::Machine => None,
            #[cfg(test)]
            Self::Hand(_) => Some(self.now()),
        }
    }
}

/// When the next pair of a space ends, as far as this process knows.
#[derive(Debug)]
pub(crate) struct NextEnd(AtomicU64);

impl NextEnd {
    /// Of a space whose next pair ends at this moment; [`NEVER`]: none does.
    pub(crate) fn new(ends: u64) -> Self {
        Self(AtomicU64::new(ends))
    }

    /// A pair ends at this moment. To be called after it has been written.
    pub(crate) fn note(&self, ends: u64) {
        self.0.fetch_min(ends, Ordering::SeqCst);
    }

    /// Another process may write, too.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    /// Whether a pair may have ended. If so the caller looks, and notes what it finds.
    pub(crate) fn take(&self, now: u64) -> bool {
        let over = self.0.load(Ordering::SeqCst) <= now;
        if over {
            // Before the look: what is noted meanwhile counts.
            self.0.store(NEVER, Ordering::SeqCst);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_a_millisecond_at_least_and_never_overflows() {
        assert_eq!(millis(Duration::from_micros(999)), Err(StoreError::NoTimeToLive));
        assert_eq!(millis(Duration::from_millis(1)), Ok(1));
        assert_eq!(millis(Duration::MAX), Ok(LAST));
        assert_eq!((ends(7, None), ends(7, Some(3)), ends(7, Some(LAST))), (NEVER, 10, LAST));
    }

    #[test]
    fn what_is_noted_during_a_look_is_not_forgotten() {
        let next = NextEnd::new(0);
        assert!(next.take(1));
        next.note(5);
        next.note(9);
        assert!(!next.take(4));
        assert!(next.take(5));
        assert!(!next.take(NEVER - 1));
    }
}
