//! The stores of a process, each open once for all who use it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use host_manifest::StoreConfig;

use crate::bucket::{AnySpace, Bucket, Buckets};
use crate::disk::{Disk, Sharing};
use crate::error::OpenError;
use crate::health::Trouble;
use crate::lease::Lease;
use crate::memory::Memory;
use crate::redis::{Redis, RedisSpace};
use crate::sweep::OpenBuckets;
use crate::ttl::TtlClock;
use crate::usage::Accounts;

/// The stores of a process. One for all components and generations; clones are the same one.
///
/// A store is opened when the first buckets in it are, and closed when the last ones are dropped:
/// a database file is released, what is in memory is gone. A swap opens the buckets of the new
/// generation before the old one lets go of its own, so nothing is closed in between.
///
/// Two processes that overlap, as in an upgrade, may use the same database files by turns, if both say so:
/// [`share`](Self::share) before the new one opens any, [`keep`](Self::keep) when the old one has ended. What
/// is in memory is not shared.
#[derive(Clone, Default)]
pub struct Stores(Arc<Registry>);

#[derive(Default)]
struct Registry {
    slots: Mutex<BTreeMap<StoreConfig, Arc<Slot>>>,
    accounts: Accounts,
    sharing: Arc<Sharing>,
    open: OpenBuckets,
    clock: TtlClock,
    /// Those that are open, and some that were.
    disks: Mutex<Vec<Weak<Disk>>>,
}

impl Stores {
    /// Shares all database files with another process from now on, those that are open and those opened
    /// later. A file that is open is closed as soon as what is done with it now is done; this does not wait
    /// for that. Operations then open it for a short turn each, together with those that wait as well, and
    /// wait for the turns of the other process. Opening a store waits for a turn, too.
    ///
    /// A file that has been shared is left behind even if nothing is in it.
    pub fn share(&self) {
        self.0.sharing.begin();
        self.0.follow();
    }

    /// Keeps all database files open again, each from its next operation on at the latest. For who knows
    /// that the other process has ended: where it has not, operations wait for it, and then shut it out.
    pub fn keep(&self) {
        self.0.sharing.end();
        self.0.follow();
    }

    /// Has all database files closed, whoever still holds one: for the end of the process, when nobody uses them any more.
    /// [`wait_until_closed`](crate::wait_until_closed) waits for that.
    pub fn close(&self) {
        self.0.open_disks().iter().for_each(|disk| disk.end());
    }

    /// Opens buckets, by the names that a guest has for them. Blocks on files: for a thread that
    /// may. A Redis server is not asked until the first operation.
    ///
    /// `size_limit` is in bytes. It bounds what the component has in its own buckets together, each
    /// shared bucket that it writes to, and every value.
    ///
    /// # Errors
    /// A database file cannot be opened; the URL of a Redis server cannot be used. Nothing is left
    /// open then that was not before.
    pub fn open(
        &self,
        buckets: &BTreeMap<String, host_manifest::BucketConfig>,
        size_limit: u64,
    ) -> Result<Buckets, OpenError> {
        let mut opened_stores: BTreeMap<StoreConfig, Arc<OpenStore>> = BTreeMap::new();
        let mut open = BTreeMap::new();
        for (name, bucket) in buckets {
            let store = resolved(&bucket.store);
            let opened = match opened_stores.get(&store) {
                Some(opened) => opened.clone(),
                None => {
                    let opened = Arc::new(self.open_store(&store)?);
                    opened_stores.insert(store, opened.clone());
                    opened
                }
            };
            let space = opened.backend.space(&bucket.space, &self.0.accounts)?;
            let bucket = Bucket::new(space, Lease::new(opened), size_limit, self.0.clock.clone());
            open.insert(name.clone(), bucket);
        }
        let buckets = Buckets::new(open);
        self.0.open.add(&buckets);
        Ok(buckets)
    }

    /// Frees pairs whose time to live is over, in all buckets that are open, every second, for as long as its
    /// future is polled. Without it they are as invisible, and take up room until a write needs it.
    pub async fn keep_sweeping(self) {
        self.0.open.keep_sweeping().await;
    }

    /// Does so once.
    #[cfg(test)]
    pub(crate) async fn sweep(&self) {
        self.0.open.sweep().await;
    }

    /// Stores for whose pairs it is as late as the test says.
    #[cfg(test)]
    pub(crate) fn at(now: Arc<std::sync::atomic::AtomicU64>) -> Self {
        Self(Arc::new(Registry { clock: TtlClock::Hand(now), ..Registry::default() }))
    }

    /// The stores in use that fail, as their last operations saw them. Blocks on nothing but the opening
    /// of a store.
    #[must_use]
    pub fn troubles(&self) -> Vec<Trouble> {
        let slots: Vec<_> = {
            let slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.values().cloned().collect()
        };
        slots.iter().filter_map(|slot| slot.trouble()).collect()
    }

    fn open_store(&self, store: &StoreConfig) -> Result<OpenStore, OpenError> {
        let slot = {
            let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
            // A slot that only the map holds is closed, and no caller is about to open it.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
            slots.entry(store.clone()).or_default().clone()
        };
        slot.open(store, &self.0)
    }
}

impl Registry {
    /// Tells the files that the mode has changed. Waits for none of them.
    fn follow(&self) {
        for disk in &self.open_disks() {
            disk.follow();
        }
    }

    /// Those that are open. The caller may have to drop the last handle of one: after the lock.
    fn open_disks(&self) -> Vec<Arc<Disk>> {
        self.disks().iter().filter_map(Weak::upgrade).collect()
    }

    /// Opens a file. One that the mode changes for meanwhile follows at the latest when its spaces are opened.
    fn open_disk(&self, path: &Path) -> Result<Arc<Disk>, OpenError> {
        let disk = Arc::new(Disk::open(path, self.sharing.clone())?);
        let mut disks = self.disks();
        disks.retain(|disk| disk.strong_count() > 0);
        disks.push(Arc::downgrade(&disk));
        drop(disks);
        Ok(disk)
    }

    fn disks(&self) -> MutexGuard<'_, Vec<Weak<Disk>>> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Stores {
    /// Without the URLs: there may be passwords in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Stores").field("known", &slots.len()).finish_non_exhaustive()
    }
}

/// The same file has the same name, however it is written.
fn resolved(store: &StoreConfig) -> StoreConfig {
    let StoreConfig::Disk(path) = store else {
        return store.clone();
    };
    StoreConfig::Disk(real_path(path).unwrap_or_else(|| path.clone()))
}

fn real_path(path: &Path) -> Option<PathBuf> {
    if let Ok(path) = path.canonicalize() {
        return Some(path);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new(".")).canonicalize().ok()?;
    Some(folder.join(path.file_name()?))
}

/// Where a store is open, if it is. Its own lock: opening one waits for no other.
#[derive(Default)]
struct Slot(Mutex<Open>);

#[derive(Default)]
struct Open {
    users: usize,
    backend: Option<Backend>,
}

impl Slot {
    fn open(
        self: Arc<Self>,
        store: &StoreConfig,
        registry: &Registry,
    ) -> Result<OpenStore, OpenError> {
        let mut open = self.lock();
        let backend = match &open.backend {
            Some(backend) => backend.for_user(),
            None => open.backend.insert(Backend::open(store, registry)?).for_user(),
        };
        open.users += 1;
        drop(open);
        Ok(OpenStore { backend, _hold: Hold(self) })
    }

    fn trouble(&self) -> Option<Trouble> {
        // One that is being opened has had no operation.
        let open = self.0.try_lock().ok()?;
        match open.backend.as_ref()? {
            Backend::Memory(_) => None,
            Backend::Disk(disk) => disk.trouble(),
            Backend::Redis(redis) => redis.trouble(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store that is open, for one user of it. The last one to drop closes it. Opening the store again waits
/// for that: two that have the same file open would shut each other out.
struct OpenStore {
    // Before the hold, so that the slot has the last one when it closes.
    backend: Backend,
    _hold: Hold,
}

struct Hold(Arc<Slot>);

impl Drop for Hold {
    fn drop(&mut self) {
        let mut open = self.0.lock();
        open.users -= 1;
        if open.users == 0 {
            drop(open.backend.take());
        }
    }
}

/// A store of one kind.
enum Backend {
    Memory(Arc<Memory>),
    Disk(Arc<Disk>),
    Redis(Arc<Redis>),
}

impl Backend {
    fn open(store: &StoreConfig, registry: &Registry) -> Result<Self, OpenError> {
        match store {
            StoreConfig::Memory(_) => Ok(Self::Memory(Arc::default())),
            StoreConfig::Disk(path) => Ok(Self::Disk(registry.open_disk(path)?)),
            StoreConfig::Redis(url) => Ok(Self::Redis(Arc::new(Redis::open(url)?))),
        }
    }

    /// The same store, for one more user: a connection to a server is its own.
    fn for_user(&self) -> Self {
        match self {
            Self::Memory(memory) => Self::Memory(memory.clone()),
            Self::Disk(disk) => Self::Disk(disk.clone()),
            Self::Redis(redis) => Self::Redis(Arc::new(redis.another())),
        }
    }

    fn space(
        &self,
        space: &host_manifest::Namespace,
        accounts: &Accounts,
    ) -> Result<AnySpace, OpenError> {
        match self {
            Self::Memory(memory) => Ok(AnySpace::Memory(memory.space(space, accounts))),
            Self::Disk(disk) => Ok(AnySpace::Disk(disk.space(space, accounts)?)),
            Self::Redis(redis) => {
                Ok(AnySpace::Redis(Arc::new(RedisSpace::new(redis.clone(), space, accounts))))
            }
        }
    }
}
