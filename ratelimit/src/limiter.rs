//! Limiters: of many keys, and of everything together.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota, RateLimiter};

use super::clock::ProcessClock;
use super::key::{HeldKey, KeyHasher, RateKey};
use super::store::BoundedStore;

/// How much may happen at once, and how long it takes until as much may happen again. One more may happen each
/// `refilled_in / of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// So many.
    pub of: NonZeroU32,
    /// In whole nanoseconds for each one; less than that is as good as no limit.
    pub refilled_in: Duration,
}

/// 100 years: governor counts 64 bits of nanoseconds.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Burst {
    /// The time in which one more may happen: at least a nanosecond.
    #[must_use]
    pub fn interval(self) -> Duration {
        (self.refilled_in.min(LONGEST) / self.of.get()).max(Duration::from_nanos(1))
    }

    fn quota(self) -> Quota {
        let quota = Quota::with_period(self.interval()).expect("an interval is never nothing");
        quota.allow_burst(self.of)
    }
}

/// It may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// So many more may happen at once.
    pub left: u32,
}

/// It happens too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// After this, one more may happen.
    pub wait: Duration,
}

type Governor<K, S, C> = RateLimiter<K, S, C, StateInformationMiddleware>;

/// Limits how often something may happen, for each key apart. Dropping it forgets all keys.
pub struct KeyedLimiter<C: Clock<Instant = Duration> = ProcessClock> {
    governor: Governor<HeldKey, BoundedStore, C>,
    hasher: KeyHasher,
}

impl KeyedLimiter {
    /// Each key may have this burst. To be made once: it begins with all bursts whole.
    #[must_use]
    pub fn new(burst: Burst) -> Self {
        Self::with_clock(burst, ProcessClock::default())
    }
}

impl<C: Clock<Instant = Duration>> KeyedLimiter<C> {
    /// The same by another clock.
    pub fn with_clock(burst: Burst, clock: C) -> Self {
        let store = BoundedStore::new(burst.interval());
        Self {
            governor: RateLimiter::new(burst.quota(), store, clock),
            hasher: KeyHasher::default(),
        }
    }

    /// Takes one of the burst of this key.
    ///
    /// # Errors
    /// There is none left of it. Nothing is taken then.
    pub fn check(&self, key: RateKey<'_>) -> Result<Allowed, Exceeded> {
        let checked = self.governor.check_key(&self.hasher.held(key));
        checked
            .map(|state| Allowed { left: state.remaining_burst_capacity() })
            .map_err(|not_until| exceeded(&not_until, self.governor.clock()))
    }

    /// Keys that are held now.
    pub fn held(&self) -> usize {
        self.governor.len()
    }
}

impl<C: Clock<Instant = Duration>> fmt::Debug for KeyedLimiter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLimiter").finish_non_exhaustive()
    }
}

/// Limits how often something may happen in all.
pub struct DirectLimiter(Governor<NotKeyed, InMemoryState, ProcessClock>);

impl DirectLimiter {
    /// All together may have this burst.
    #[must_use]
    pub fn new(burst: Burst) -> Self {
        let (state, clock) = (InMemoryState::default(), ProcessClock::default());
        Self(RateLimiter::new(burst.quota(), state, clock))
    }

    /// Takes one of the burst.
    ///
    /// # Errors
    /// There is none left of it. Nothing is taken then.
    pub fn check(&self) -> Result<Allowed, Exceeded> {
        let checked = self.0.check();
        checked
            .map(|state| Allowed { left: state.remaining_burst_capacity() })
            .map_err(|not_until| exceeded(&not_until, self.0.clock()))
    }
}

impl fmt::Debug for DirectLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectLimiter").finish_non_exhaustive()
    }
}

fn exceeded(until: &NotUntil<Duration>, clock: &impl Clock<Instant = Duration>) -> Exceeded {
    Exceeded { wait: until.wait_time_from(clock.now()) }
}

#[cfg(test)]
#[path = "limiter_tests.rs"]
mod tests;
