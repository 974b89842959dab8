//! What a guest works with: buckets, by the names that it was granted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{self, DiskSpace};
use crate::error::StoreError;
use crate::lease::Lease;
use crate::limits::{MAX_ANSWER, MAX_BATCH, MAX_KEY, MAX_PAGE};
use crate::memory::MemorySpace;
use crate::page::{Page, PageMaker, PrefixPage};
use crate::redis::RedisSpace;
use crate::ttl::{NextEnd, TtlClock, ends, millis};
use crate::write::{LARGEST, Reply, Swap, Write};

/// How long a store that fails is left alone by who frees what has ended, in milliseconds.
const AGAIN: u64 = 10_000;

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

    /// The names of all that were granted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn all(&self) -> &Arc<BTreeMap<String, Bucket>> {
        &self.0
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
    clock: TtlClock,
}

/// What a compare-and-swap came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// The value was as expected, and is the new one.
    Done,
    /// The value was this one, and still is.
    Other(Option<Vec<u8>>),
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
        f.debug_struct("Bucket").field("kind", &self.backend()).field("limit", &self.limit).finish()
    }
}

#[expect(clippy::missing_errors_doc, reason = "said once, of the type")]
impl Bucket {
    pub(crate) fn new(space: AnySpace, lease: Lease, limit: u64, clock: TtlClock) -> Self {
        Self { space, lease, limit, clock }
    }

    /// Where it is kept, in the word of the manifest.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        match &self.space {
            AnySpace::Memory(_) => "memory",
            AnySpace::Disk(_) => "disk",
            AnySpace::Redis(_) => "redis",
        }
    }

    /// The value of a key.
    pub async fn get(&self, key: String) -> Result<Option<Vec<u8>>, StoreError> {
        if let AnySpace::Redis(space) = &self.space {
            check_keys(std::iter::once(&*key))?;
            return space.value(&key, self.clock.told()).await;
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
        let now = self.clock.now();
        match &self.space {
            AnySpace::Memory(space) => Ok(space.exists(&key, now)),
            AnySpace::Disk(space) => {
                let bytes = key.len();
                disk::read(space, &self.lease, bytes, move |space| space.exists(&key, now)).await
            }
            AnySpace::Redis(space) => space.exists(&key, self.clock.told()).await,
        }
    }

    /// A page of keys: the first one, or the one that the cursor of another page names. A key that
    /// is there from the first page to the last is in one of them, whatever is written meanwhile.
    pub async fn list_keys(&self, cursor: Option<u64>) -> Result<Page, StoreError> {
        let (from, now) = (cursor.unwrap_or_default(), self.clock.now());
        match &self.space {
            AnySpace::Memory(space) => Ok(space.list(from, PageMaker::new(from, now))),
            AnySpace::Disk(space) => {
                let list = move |space: &DiskSpace| space.list(from, || PageMaker::new(from, now));
                disk::read(space, &self.lease, 0, list).await
            }
            AnySpace::Redis(space) => space.list(from, self.clock.told()).await,
        }
    }

    /// A page of keys that begin with `prefix`: the first one, or the one that the cursor of another page
    /// names. A key that is there from the first page to the last is in exactly one of them, whatever is
    /// written meanwhile. `most` is from 1 to [`MAX_PAGE`]; what is beyond counts as that.
    pub async fn list_keys_with_prefix(
        &self,
        prefix: String,
        cursor: Option<String>,
        most: usize,
    ) -> Result<PrefixPage, StoreError> {
        check_keys(std::iter::once(&*prefix))?;
        let most = most.clamp(1, MAX_PAGE);
        if let AnySpace::Redis(space) = &self.space {
            return space.list_prefix(&prefix, cursor, most, self.clock.told()).await;
        }
        let from = cursor.map_or(Ok(0), |cursor| cursor.parse());
        let (from, now) = (from.map_err(|_| StoreError::WrongCursor)?, self.clock.now());
        let page = match &self.space {
            AnySpace::Disk(space) => {
                let bytes = prefix.len();
                let list = move |space: &DiskSpace| {
                    space.list(from, || PageMaker::with_prefix(from, now, &prefix, most))
                };
                disk::read(space, &self.lease, bytes, list).await?
            }
            AnySpace::Memory(space) => {
                space.list(from, PageMaker::with_prefix(from, now, &prefix, most))
            }
            AnySpace::Redis(_) => return Err(unexpected()),
        };
        Ok(PrefixPage { keys: page.keys, cursor: page.cursor.map(|next| next.to_string()) })
    }

    /// Sets the value of a key.
    pub async fn set(&self, key: String, value: Vec<u8>) -> Result<(), StoreError> {
        self.set_many(vec![(key, value)]).await
    }

    /// Sets the value of a key for a time. Afterwards there is no such key. Any other write of the value but
    /// an increment takes the end away, or sets another one.
    pub async fn set_with_ttl(
        &self,
        key: String,
        value: Vec<u8>,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let ttl = Some(millis(ttl)?);
        self.set_entries(vec![(key, value)], ttl).await
    }

    /// Sets the values of keys: of all or of none. Of a key that is there twice, the last counts. None of
    /// them has a time to live afterwards.
    pub async fn set_many(&self, entries: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        self.set_entries(entries, None).await
    }

    async fn set_entries(
        &self,
        entries: Vec<(String, Vec<u8>)>,
        ttl: Option<u64>,
    ) -> Result<(), StoreError> {
        check_keys(entries.iter().map(|(key, _)| &**key))?;
        for (key, value) in &entries {
            self.check_value(key, value)?;
        }
        if entries.is_empty() {
            return Ok(());
        }
        self.write(Write::Set { entries, ttl }).await.map(drop)
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
            _ => Err(unexpected()),
        }
    }

    /// Sets the value of a key if it still is what the caller expects (none: that there is no such key).
    /// No new value: removes the key. Atomic: of N that expect the same value, one sets its own. With `ttl`
    /// the new value stays for so long; without it, for good.
    pub async fn compare_and_swap(
        &self,
        key: String,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        ttl: Option<Duration>,
    ) -> Result<Swapped, StoreError> {
        check_keys(std::iter::once(&*key))?;
        if let Some(new) = &new {
            self.check_value(&key, new)?;
        }
        let ttl = ttl.map(millis).transpose()?;
        match self.write(Write::Swap(Swap { key, expected, new, ttl })).await? {
            Reply::Swapped => Ok(Swapped::Done),
            Reply::Other(value) => Ok(Swapped::Other(value)),
            _ => Err(unexpected()),
        }
    }

    /// Frees pairs that have ended, in one step. Whether more may be there to be freed.
    pub(crate) async fn free(&self) -> Result<bool, StoreError> {
        let now = self.clock.now();
        match &self.space {
            // The other process frees by itself what it knows of.
            AnySpace::Disk(space) if space.is_shared() => {
                self.next_end().forget();
                Ok(false)
            }
            _ if !self.next_end().take(now) => Ok(false),
            _ => {
                // Should it fail, or be dropped.
                self.next_end().note(now.saturating_add(AGAIN));
                let Reply::Freed { next_end } = self.write(Write::Free).await? else {
                    return Err(unexpected());
                };
                self.next_end().note(next_end);
                Ok(next_end <= now)
            }
        }
    }

    fn next_end(&self) -> &NextEnd {
        match &self.space {
            AnySpace::Memory(space) => space.next_end(),
            AnySpace::Disk(space) => space.next_end(),
            AnySpace::Redis(space) => space.next_end(),
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
        let now = self.clock.now();
        match &self.space {
            AnySpace::Memory(space) => space.values(&keys, limit, now),
            AnySpace::Disk(space) => {
                let bytes = keys.iter().map(String::len).sum();
                let values = move |space: &DiskSpace| space.values(&keys, limit, now);
                disk::read(space, &self.lease, bytes, values).await
            }
            AnySpace::Redis(space) => space.values(&keys, limit, self.clock.told()).await,
        }
    }

    async fn write(&self, write: Write) -> Result<Reply, StoreError> {
        let (now, ttl) = (self.clock.now(), write.ttl());
        let reply = match &self.space {
            AnySpace::Memory(space) => space.write(&write, self.limit, now),
            AnySpace::Disk(space) => {
                disk::write(space, &self.lease, write, (self.limit, now)).await
            }
            AnySpace::Redis(space) => space.write(write, self.limit, self.clock.told()).await,
        };
        if ttl.is_some() {
            self.next_end().note(ends(now, ttl));
        }
        reply
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
