//! Buckets in memory. They last as long as their store is open.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::error::StoreError;
use crate::limits::{MAX_PAGE, position};
use crate::page::Page;
use crate::usage::{Accounts, Usage};
use crate::write::{Pairs, Reply, Write, apply};

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
            pairs: RwLock::default(),
            usage: Usage::new(accounts.account(space), 0),
        });
        spaces.insert(space.clone(), new.clone());
        new
    }
}

/// The pairs of one space. It has a lock of its own: no operation waits for the pairs of another space.
#[derive(Debug)]
pub(crate) struct MemorySpace {
    pairs: RwLock<Tree>,
    usage: Usage,
}

/// By position and key. Values are shared, so that they are copied outside of the lock.
type Tree = BTreeMap<(u64, Box<str>), Arc<[u8]>>;

fn place(key: &str) -> (u64, Box<str>) {
    (position(key), key.into())
}

impl MemorySpace {
    /// All of one moment. Fails if they are more than `limit` bytes together.
    pub(crate) fn values(
        &self,
        keys: &[String],
        limit: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let places: Vec<_> = keys.iter().map(|key| place(key)).collect();
        let found: Vec<Option<Arc<[u8]>>> = {
            let pairs = self.pairs.read().unwrap_or_else(PoisonError::into_inner);
            places.iter().map(|place| pairs.get(place).cloned()).collect()
        };
        let total: u64 = found.iter().flatten().map(|value| value.len() as u64).sum();
        if total > limit {
            return Err(StoreError::AnswerTooLarge);
        }
        Ok(found.into_iter().map(|value| value.map(|value| value.to_vec())).collect())
    }

    pub(crate) fn exists(&self, key: &str) -> bool {
        let place = place(key);
        self.pairs.read().unwrap_or_else(PoisonError::into_inner).contains_key(&place)
    }

    pub(crate) fn list(&self, from: u64) -> Page {
        let pairs = self.pairs.read().unwrap_or_else(PoisonError::into_inner);
        let mut page = Page::default();
        let mut last = from;
        for (position, key) in pairs.range((from, Box::default())..).map(|(place, _)| place) {
            if page.keys.len() >= MAX_PAGE && *position != last {
                page.cursor = Some(*position);
                break;
            }
            last = *position;
            page.keys.push(key.to_string());
        }
        page
    }

    pub(crate) fn write(&self, write: &Write, limit: u64) -> Result<Reply, StoreError> {
        let mut pairs = self.pairs.write().unwrap_or_else(PoisonError::into_inner);
        match apply(write, &mut *pairs, &self.usage, limit) {
            Ok(reply) => reply,
            Err(never) => match never {},
        }
    }
}

impl Pairs for Tree {
    type Broken = Infallible;

    fn value(&self, key: &str) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.get(&place(key)).map(|value| value.to_vec()))
    }

    fn length(&self, key: &str) -> Result<Option<u64>, Infallible> {
        Ok(self.get(&place(key)).map(|value| value.len() as u64))
    }

    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), Infallible> {
        self.insert(place(key), value.into());
        Ok(())
    }

    fn remove(&mut self, key: &str) -> Result<(), Infallible> {
        Self::remove(self, &place(key));
        Ok(())
    }
}
