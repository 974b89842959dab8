//! Buckets in memory. They last as long as their store is open.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use crate::end::NEVER;
use crate::error::StoreError;
use crate::limits::{kept_size, position};
use crate::page::{Page, PageMaker};
use crate::ttl::NextEnd;
use crate::usage::{Accounts, Usage};
use crate::write::{Pair, Pairs, Reply, Write, apply};

/// A store in memory: spaces that know nothing of each other.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    spaces: Mutex<BTreeMap<host_manifest::Namespace, Arc<MemorySpace>>>,
}

impl Memory {
    /// The space, as all who name it see it.
    pub(crate) fn space(
        &self,
        space: &host_manifest::Namespace,
        accounts: &Accounts,
    ) -> Arc<MemorySpace> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = spaces.get(space) {
            return open.clone();
        }
        let new = Arc::new(MemorySpace {
            tree: RwLock::default(),
            usage: Usage::new(accounts.account(space), 0),
            next_end: NextEnd::new(NEVER),
        });
        spaces.insert(space.clone(), new.clone());
        new
    }
}

/// The pairs of one space. It has a lock of its own: no operation waits for the pairs of another space.
#[derive(Debug)]
pub(crate) struct MemorySpace {
    tree: RwLock<Tree>,
    usage: Usage,
    next_end: NextEnd,
}

#[derive(Debug, Default)]
struct Tree {
    pairs: BTreeMap<Place, Kept>,
    /// Of the pairs with a time to live, by the moment at which they end.
    ends: BTreeSet<(u64, Place)>,
}

/// Position and key.
type Place = (u64, Arc<str>);

#[derive(Debug)]
struct Kept {
    /// Shared, so that it is copied outside of the lock.
    value: Arc<[u8]>,
    ends: u64,
}

fn place(key: &str) -> Place {
    (position(key), key.into())
}

impl MemorySpace {
    /// All of one moment. Fails if they are more than `limit` bytes together.
    pub(crate) fn values(
        &self,
        keys: &[String],
        limit: u64,
        now: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let places: Vec<_> = keys.iter().map(|key| place(key)).collect();
        let found: Vec<Option<Arc<[u8]>>> = {
            let tree = self.read();
            let value = |place| tree.current(place, now).map(|kept| kept.value.clone());
            places.iter().map(value).collect()
        };
        let total: u64 = found.iter().flatten().map(|value| value.len() as u64).sum();
        if total > limit {
            return Err(StoreError::AnswerTooLarge);
        }
        Ok(found.into_iter().map(|value| value.map(|value| value.to_vec())).collect())
    }

    pub(crate) fn exists(&self, key: &str, now: u64) -> bool {
        self.read().current(&place(key), now).is_some()
    }

    pub(crate) fn list(&self, from: u64, mut maker: PageMaker<'_>) -> Page {
        let tree = self.read();
        for ((position, key), kept) in tree.pairs.range((from, Arc::from(""))..) {
            if !maker.take(*position, key, kept.ends) {
                break;
            }
        }
        maker.done()
    }

    pub(crate) fn write(&self, write: &Write, limit: u64, now: u64) -> Result<Reply, StoreError> {
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        match apply(write, &mut *tree, (&self.usage, limit), now) {
            Ok(reply) => reply,
            Err(never) => match never {},
        }
    }

    pub(crate) fn next_end(&self) -> &NextEnd {
        &self.next_end
    }

    fn read(&self) -> RwLockReadGuard<'_, Tree> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    fn current(&self, place: &Place, now: u64) -> Option<&Kept> {
        self.pairs.get(place).filter(|kept| kept.ends > now)
    }

    fn insert(&mut self, place: Place, kept: Kept) {
        let ends = kept.ends;
        if let Some(before) = self.pairs.insert(place.clone(), kept) {
            self.ends.remove(&(before.ends, place.clone()));
        }
        if ends != NEVER {
            self.ends.insert((ends, place));
        }
    }
}

impl Pairs for Tree {
    type Broken = Infallible;

    fn pair(&self, key: &str) -> Result<Option<Pair>, Infallible> {
        Ok(self.pairs.get(&place(key)).map(|kept| (kept.value.to_vec(), kept.ends)))
    }

    fn size(&self, key: &str) -> Result<u64, Infallible> {
        let kept = self.pairs.get(&place(key));
        Ok(kept.map_or(0, |kept| kept_size(key, kept.value.len() as u64, kept.ends)))
    }

    fn put(&mut self, key: &str, value: &[u8], ends: u64) -> Result<(), Infallible> {
        self.insert(place(key), Kept { value: value.into(), ends });
        Ok(())
    }

    fn remove(&mut self, key: &str) -> Result<(), Infallible> {
        let place = place(key);
        if let Some(before) = self.pairs.remove(&place) {
            self.ends.remove(&(before.ends, place));
        }
        Ok(())
    }

    fn free(&mut self, now: u64, most: usize) -> Result<u64, Infallible> {
        let mut freed = 0_u64;
        for _ in 0..most {
            let Some(first) = self.ends.first().filter(|(ends, _)| *ends <= now).cloned() else {
                break;
            };
            self.ends.remove(&first);
            let (ends, place) = first;
            if let Some(kept) = self.pairs.remove(&place) {
                freed += kept_size(&place.1, kept.value.len() as u64, ends);
            }
        }
        Ok(freed)
    }

    fn next_end(&self) -> Result<u64, Infallible> {
        Ok(self.ends.first().map_or(NEVER, |(ends, _)| *ends))
    }
}
