//! Rate limits: how often something may happen, for each key apart.
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::time::Duration;
//! use host_ratelimit::{Burst, KeyedLimiter, RateKey};
//!
//! let burst = NonZeroU32::new(2).unwrap();
//! let limiter = KeyedLimiter::new(Burst { of: burst, refilled_in: Duration::from_secs(2) });
//! let key = RateKey::client("192.0.2.7".parse().ok());
//! assert_eq!(limiter.check(key).unwrap().left, 1);
//! assert_eq!(limiter.check(key).unwrap().left, 0);
//! assert!(limiter.check(key).unwrap_err().wait <= Duration::from_secs(1));
//! ```
//!
//! The algorithm is GCRA, of the crate governor: of each key one number is kept, the moment from which on its whole
//! burst is there again. A decision is exact, however many threads ask at once. Memory is bounded, whatever keys
//! there are: see [`MOST_KEYS`].

mod clock;
mod key;
mod limiter;
mod store;

pub use clock::ProcessClock;
pub use key::RateKey;
pub use limiter::{Allowed, Burst, DirectLimiter, Exceeded, KeyedLimiter};
pub use store::MOST_KEYS;
