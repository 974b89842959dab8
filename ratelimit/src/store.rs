//! Where the states of keys are kept: in bounded memory.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use host_shards::OwnLines;

use super::key::HeldKey;

/// Requests with different keys rarely meet at one lock.
const SHARDS: usize = 64;

/// What a table of 2,048 places holds without growing.
const KEYS_OF_A_SHARD: usize = 1792;

/// Keys that one limiter holds at most: 114,688. Any 100,000 fit, because keys are spread evenly enough over the parts
/// of the table. One costs 33 to 58 bytes, so a limiter takes 7 MB at most.
///
/// A key that has its whole burst is the same as one that was never seen: it makes room when room is needed. If as
/// many others are held, a new key is not held by itself, but shares a burst with the others that came too late, in
/// one of 64 bursts. So who makes up keys can neither have more of them let through than these bounds say, nor take
/// anything from those who were there before; and who comes new is not shut out.
pub const MOST_KEYS: usize = SHARDS * KEYS_OF_A_SHARD;

/// The states of all keys: of each the moment from which on its whole burst is there again, in nanoseconds.
#[derive(Debug)]
pub(crate) struct BoundedStore {
    shards: Box<[OwnLines<Mutex<Shard>>]>,
    hasher: RandomState,
    /// What one costs of a burst.
    interval: Duration,
}

#[derive(Debug, Default)]
struct Shard {
    states: HashMap<HeldKey, Nanos>,
    /// Of all keys that found no room.
    shared: Option<Nanos>,
    /// No key has its whole burst before this.
    full_from: Option<Nanos>,
}

impl BoundedStore {
    pub(crate) fn new(interval: Duration) -> Self {
        let shards = (0..SHARDS).map(|_| OwnLines::default()).collect();
        Self { shards, hasher: RandomState::new(), interval }
    }

    fn shard(&self, key: &HeldKey) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(key) % SHARDS as u64;
        lock(&self.shards[usize::try_from(index).unwrap_or_default()])
    }
}

impl Shard {
    /// Whether another key can be held. If there is no room as it is, those that have their whole burst at `now` go.
    fn has_room(&mut self, now: Nanos) -> bool {
        let len = self.states.len();
        if len < self.states.capacity().min(KEYS_OF_A_SHARD) {
            return true;
        }
        self.make_room(now);
        self.states.len() < KEYS_OF_A_SHARD
    }

    /// Lets go of keys that have their whole burst at `now`.
    fn make_room(&mut self, now: Nanos) {
        if self.full_from.is_none_or(|moment| moment <= now) {
            self.states.retain(|_, full| *full > now);
            self.full_from = self.states.values().min().copied();
        }
    }

    fn hold(&mut self, key: HeldKey, full: Nanos) {
        self.full_from = self.full_from.map(|first| first.min(full));
        self.states.insert(key, full);
    }
}

impl StateStore for BoundedStore {
    type Key = HeldKey;

    fn measure_and_replace<T, F, E>(&self, key: &HeldKey, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(key);
        if let Some(state) = shard.states.get_mut(key) {
            let (outcome, next) = measure(Some(*state))?;
            *state = next;
            return Ok(outcome);
        }
        let (outcome, fresh) = measure(None)?;
        // A fresh key has paid for one, from now on.
        if shard.has_room(fresh.saturating_sub(self.interval.into())) {
            shard.hold(*key, fresh);
            return Ok(outcome);
        }
        let (outcome, next) = measure(shard.shared)?;
        shard.shared = Some(next);
        Ok(outcome)
    }
}

/// For the number of keys that are held, those that have their whole burst and have not made room yet among them.
impl ShrinkableKeyedStateStore<HeldKey> for BoundedStore {
    fn retain_recent(&self, drop_below: Nanos) {
        self.shards.iter().for_each(|shard| lock(shard).make_room(drop_below));
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).states.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Nothing in here panics while it holds the lock.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
