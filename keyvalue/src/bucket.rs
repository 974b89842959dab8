//! What a guest works with: buckets, by the names that it was granted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::disk::{self, DiskSpace};
use crate::error::StoreError;
use crate::lease::Lease;
use crate::limits::{MAX_ANSWER, MAX_BATCH, MAX_KEY};
use crate::memory::MemorySpace;
use crate::page::Page;
use crate::redis::RedisSpace;
use crate::write::{LARGEST, Reply, Write};

/// The buckets of one generation. None by default. Clones are the same ones; the last of them to
/// drop lets go of the stores.
#[derive(Clone, Debug, Default)]
pub struct Buckets(Arc<BTreeMap<String, Bucket>>);

impl Buckets {
    pub(crate) fn new(buckets: BTreeMap<String, Bucket>) -> Self {
        Self(Arc::new(buckets))
    }

    /// The bucket that a guest calls so, if it was granted one.
    #[must_use]
    pub fn get(&self, identifier: &str) -> Option<Bucket> {
        self.0.get(identifier).cloned()
    }

    /// Whether no bucket was granted at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One space of a store. Cheap to clone. Keeps the store open.
///
/// Every operation is bounded in time and in size. Dropping the future of a write leaves open
/// whether the write happens.
///
/// # Errors
/// Of every operation: [`StoreError`]. A write that fails for its size has changed nothing.
#[derive(Clone)]
pub struct Bucket {
    // Before the lease: what lies in a store is let go of before the store is closed.
    space: AnySpace,
    lease: Lease,
    limit: u64,
}

/// One space, where it is kept.
#[derive(Clone)]
pub(crate) enum AnySpace {
    Memory(Arc<MemorySpace>),
    Disk(Arc<DiskSpace>),
    Redis(Arc<RedisSpace>),
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.space {
            AnySpace::Memory(_) => "memory",
            AnySpace::Disk(_) => "disk",
            AnySpace::Redis(_) => "Redis",
        };
        f.debug_struct("Bucket").field("kind", &kind).field("limit", &self.limit).finish()
    }
}

#[expect(clippy::missing_errors_doc, reason = "said once, of the type")]
impl Bucket {
    pub(crate) fn new(space: AnySpace, lease: Lease, limit: u64) -> Self {
        Self { space, lease, limit }
    }

    /// The value of a key.
    pub async fn get(&self, key: String) -> Result<Option<Vec<u8>>, StoreError> {
        if let AnySpace::Redis(space) = &self.space {
            check_keys(std::iter::once(&*key))?;
            return space.value(&key).await;
        }
        let values = self.values(vec![key], u64::MAX).await?;
        Ok(values.into_iter().next().flatten())
    }

    /// The values of keys, in their order; all of one moment.
    pub async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.values(keys, MAX_ANSWER).await
    }

    /// Whether a key is there.
    pub async fn exists(&self, key: String) -> Result<bool, StoreError> {
        check_keys(std::iter::once(&*key))?;
        match &self.space {
            AnySpace::Memory(space) => Ok(space.exists(&key)),
            AnySpace::Disk(space) => {
                let bytes = key.len();
                disk::read(space, &self.lease, bytes, move |space| space.exists(&key)).await
            }
            AnySpace::Redis(space) => space.exists(&key).await,
        }
    }

    /// A page of keys: the first one, or the one that the cursor of another page names. A key that
    /// is there from the first page to the last is in one of them, whatever is written meanwhile.
    pub async fn list_keys(&self, cursor: Option<u64>) -> Result<Page, StoreError> {
        let from = cursor.unwrap_or_default();
        match &self.space {
            AnySpace::Memory(space) => Ok(space.list(from)),
            AnySpace::Disk(space) => {
                disk::read(space, &self.lease, 0, move |space| space.list(from)).await
            }
            AnySpace::Redis(space) => space.list(from).await,
        }
    }

    /// Sets the value of a key.
    pub async fn set(&self, key: String, value: Vec<u8>) -> Result<(), StoreError> {
        self.set_many(vec![(key, value)]).await
    }

    /// Sets the values of keys: of all or of none. Of a key that is there twice, the last counts.
    pub async fn set_many(&self, entries: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        check_keys(entries.iter().map(|(key, _)| &**key))?;
        for (key, value) in &entries {
            self.check_value(key, value)?;
        }
        if entries.is_empty() {
            return Ok(());
        }
        self.write(Write::Set(entries)).await.map(drop)
    }

    /// Removes a key, if it is there.
    pub async fn delete(&self, key: String) -> Result<(), StoreError> {
        self.delete_many(vec![key]).await
    }

    /// Removes keys, those that are there: all or none.
    pub async fn delete_many(&self, keys: Vec<String>) -> Result<(), StoreError> {
        check_keys(keys.iter().map(|key| &**key))?;
        if keys.is_empty() {
            return Ok(());
        }
        self.write(Write::Delete(keys)).await.map(drop)
    }

    /// Adds to a number, which is 0 if the key is not there, and gives the sum. Numbers are kept
    /// as decimal text, up to 2^63 - 1. Atomic: of N that add 1, each gets another sum.
    pub async fn increment(&self, key: String, delta: u64) -> Result<u64, StoreError> {
        check_keys(std::iter::once(&*key))?;
        if delta > LARGEST {
            return Err(StoreError::Overflow);
        }
        match self.write(Write::Increment { key, delta }).await? {
            Reply::Number(sum) => Ok(sum),
            Reply::Done | Reply::Swapped(_) => Err(unexpected()),
        }
    }

    /// Sets the value of a key if it still is what the caller expects (none: that there is no such
    /// key), and says whether it was. Atomic.
    pub async fn swap(
        &self,
        key: String,
        expected: Option<Vec<u8>>,
        new: Vec<u8>,
    ) -> Result<bool, StoreError> {
        check_keys(std::iter::once(&*key))?;
        self.check_value(&key, &new)?;
        match self.write(Write::Swap { key, expected, new }).await? {
            Reply::Swapped(swapped) => Ok(swapped),
            Reply::Done | Reply::Number(_) => Err(unexpected()),
        }
    }

    async fn values(
        &self,
        keys: Vec<String>,
        limit: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        check_keys(keys.iter().map(|key| &**key))?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        match &self.space {
            AnySpace::Memory(space) => space.values(&keys, limit),
            AnySpace::Disk(space) => {
                let bytes = keys.iter().map(String::len).sum();
                let values = move |space: &DiskSpace| space.values(&keys, limit);
                disk::read(space, &self.lease, bytes, values).await
            }
            AnySpace::Redis(space) => space.values(&keys, limit).await,
        }
    }

    async fn write(&self, write: Write) -> Result<Reply, StoreError> {
        match &self.space {
            AnySpace::Memory(space) => space.write(&write, self.limit),
            AnySpace::Disk(space) => disk::write(space, &self.lease, write, self.limit).await,
            AnySpace::Redis(space) => space.write(write, self.limit).await,
        }
    }

    fn check_value(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let size = (key.len() as u64).saturating_add(value.len() as u64);
        if size > self.limit {
            return Err(StoreError::ValueTooLarge { limit: self.limit });
        }
        Ok(())
    }
}

fn unexpected() -> StoreError {
    StoreError::Unavailable("the store gave an answer of another kind".to_owned())
}

/// Refuses keys that are too long, and too many of them.
fn check_keys<'a>(keys: impl ExactSizeIterator<Item = &'a str>) -> Result<(), StoreError> {
    if keys.len() > MAX_BATCH {
        return Err(StoreError::BatchTooLong);
    }
    let mut keys = keys;
    if keys.any(|key| key.len() > MAX_KEY) { Err(StoreError::KeyTooLong) } else { Ok(()) }
}
