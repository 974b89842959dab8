//! Buckets in a database file.
//!
//! ```text
//! write ─→ queue.rs ─→ one thread      ─→ commit.rs: what waits, in one transaction
//! read  ─→ queue.rs ─→ several threads ─→ a snapshot
//! ```
//!
//! A write is on the disk before its caller hears of it. Those that come while another is being
//! written through share the next transaction: the disk is waited for once for all of them. The
//! threads belong to the file, so the users of another file cannot keep them. While another process uses
//! the file too, it is open by turns: see file.rs.

mod closing;
mod commit;
mod database;
mod file;
mod probe;
mod queue;
mod sharing;
mod snapshot;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use redb::ReadableDatabase;
use tokio::sync::oneshot;
use tokio::time::timeout;

pub use self::closing::wait_until_closed;
use self::closing::{Closing, wait_for};
use self::commit::Entry;
use self::database::Opener;
use self::file::DatabaseFile;
pub use self::probe::probe;
use self::queue::{Job, Queue};
pub(crate) use self::sharing::Sharing;
use self::snapshot::Snapshot;
use crate::error::{OpenError, StoreError};
use crate::health::{StoreHealth, Trouble};
use crate::lease::Lease;
use crate::limits::DISK_DEADLINE;
use crate::page::{Page, PageMaker};
use crate::ttl::NextEnd;
use crate::usage::Accounts;
use crate::write::{Reply, Write};

/// Threads that read. Most of what they read is in memory; the others are for what is not.
const READERS: usize = 4;

/// A database file, and who reads and writes it. Dropping it has the file closed, by the thread that
/// writes: that waits for the disk, and the task that drops the last of a generation may not. Its threads end
/// then.
#[derive(Debug)]
pub(crate) struct Disk {
    file: Arc<DatabaseFile>,
    reads: Arc<Queue<Reading>>,
    writes: Arc<Queue<Writing>>,
    health: StoreHealth,
}

impl Disk {
    /// Opens the file, or makes it. Blocks.
    pub(crate) fn open(path: &Path, sharing: Arc<Sharing>) -> Result<Self, OpenError> {
        Self::open_by(path, database::open, sharing)
    }

    fn open_by(path: &Path, opener: Opener, sharing: Arc<Sharing>) -> Result<Self, OpenError> {
        wait_for(path, DISK_DEADLINE);
        let disk = Self {
            file: Arc::new(DatabaseFile::open(path, opener, sharing)?),
            reads: Arc::default(),
            writes: Arc::default(),
            health: StoreHealth::new(path.display().to_string()),
        };
        let rest = {
            let (file, reads, writes) =
                (disk.file.clone(), disk.reads.clone(), disk.writes.clone());
            move || {
                if file.is_shared() && reads.is_empty() && writes.is_empty() {
                    file.rest();
                }
            }
        };
        // If there are no threads to be had, those that there are end with the disk.
        let mut started = disk.writes.serve_all(write_all, rest.clone());
        for _ in 0..READERS {
            started = started.and_then(|()| disk.reads.serve_each(|read| read(), rest.clone()));
        }
        started.map_err(|why| OpenError::Disk {
            path: path.display().to_string(),
            why: format!(
                "it needs {} threads, and the system gave fewer ({why}): raise the limit on threads \
                 (systemd: TasksMax=; a container: its pids limit; else `ulimit -u` of the user)",
                READERS + 1
            ),
        })?;
        Ok(disk)
    }

    /// The space, as all who name it see it. Blocks.
    pub(crate) fn space(
        self: &Arc<Self>,
        space: &host_manifest::Namespace,
        accounts: &Accounts,
    ) -> Result<Arc<DiskSpace>, OpenError> {
        let entry = self.file.space(space, accounts);
        // Whether or not it was opened for this: files may have become shared while this one was opened.
        self.file.rest();
        Ok(Arc::new(DiskSpace { disk: self.clone(), entry: entry? }))
    }

    /// After a change of the mode: has the file let go of, or opened for good, after what is done with it
    /// now. Does not wait for that.
    pub(crate) fn follow(&self) {
        let file = self.file.clone();
        self.writes.interrupt(Box::new(move || file.follow()));
    }

    /// What is wrong with the file.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.health.trouble()
    }

    /// Runs `work` on the file, opened to read at least.
    fn with_view<T>(
        &self,
        work: impl Fn(&dyn ReadableDatabase) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let result = self.file.read(work);
        self.health.record(&result);
        result
    }

    /// Runs `work` on the file, opened to write.
    fn with_database<T>(
        &self,
        work: impl Fn(&redb::Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let result = self.file.write(work);
        self.health.record(&result);
        result
    }
}

impl Disk {
    /// Has the file closed as soon as what waits is done. Nothing can be done with it after that. Does not wait.
    pub(crate) fn end(&self) {
        self.reads.close();
        let (file, closing) = (self.file.clone(), Closing::begin(self.file.path()));
        // If there is no such thread, because it could not be made, they go with the queue.
        self.writes.close_with(Box::new(move || {
            file.close();
            drop(closing);
        }));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.end();
    }
}

/// One space of a file.
#[derive(Debug)]
pub(crate) struct DiskSpace {
    disk: Arc<Disk>,
    entry: Arc<Entry>,
}

impl DiskSpace {
    /// All of one moment. Fails if they are more than `limit` bytes together.
    pub(crate) fn values(
        &self,
        keys: &[String],
        limit: u64,
        now: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let found = self.disk.with_view(|view| {
            let tables = Snapshot::open(view)?;
            let (mut values, mut total) = (Vec::new(), 0_u64);
            for key in keys {
                let value = tables.value(self.entry.id, key, now, |value| {
                    total += value.len() as u64;
                    if total > limit { None } else { Some(value.to_vec()) }
                })?;
                if total > limit {
                    return Ok(None);
                }
                values.push(value.flatten());
            }
            Ok(Some(values))
        })?;
        found.ok_or(StoreError::AnswerTooLarge)
    }

    pub(crate) fn exists(&self, key: &str, now: u64) -> Result<bool, StoreError> {
        self.disk.with_view(|view| {
            Ok(Snapshot::open(view)?.value(self.entry.id, key, now, |_| ())?.is_some())
        })
    }

    /// The page that `maker` makes; it is asked for another one if the file has to be opened again.
    pub(crate) fn list<'m>(
        &self,
        from: u64,
        maker: impl Fn() -> PageMaker<'m>,
    ) -> Result<Page, StoreError> {
        self.disk.with_view(|view| Snapshot::open(view)?.list(self.entry.id, from, maker()))
    }

    /// Whether another process may use the file, too.
    pub(crate) fn is_shared(&self) -> bool {
        self.disk.file.is_shared()
    }

    pub(crate) fn next_end(&self) -> &NextEnd {
        &self.entry.next_end
    }
}

/// What a job works on. It holds the store open until it has been done or dropped.
struct Held {
    // Before the lease: what lies in a store is let go of before the store is closed.
    space: Arc<DiskSpace>,
    lease: Lease,
}

impl Held {
    fn new(space: &Arc<DiskSpace>, lease: &Lease) -> Self {
        Self { space: space.clone(), lease: lease.clone() }
    }

    /// One component of one generation. A job holds its lease, so no other one has this number.
    fn party(&self) -> usize {
        self.lease.id()
    }
}

/// A read, with its channel.
type Reading = Box<dyn FnOnce() + Send>;

/// Reads a space. `bytes`: what `work` keeps in memory until it is done.
pub(crate) async fn read<T: Send + 'static>(
    space: &Arc<DiskSpace>,
    lease: &Lease,
    bytes: usize,
    work: impl FnOnce(&DiskSpace) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (done, reply) = oneshot::channel();
    let held = Held::new(space, lease);
    let (party, caller) = (held.party(), Arc::new(()));
    let work: Reading = Box::new(move || {
        let held = held;
        let result = work(&held.space);
        // First: a caller that has the answer may close the file, and open it elsewhere.
        drop(held);
        done.send(result).ok();
    });
    space.disk.reads.push(Job { party, bytes, caller: Arc::downgrade(&caller), work })?;
    outcome(&space.disk, reply).await
}

/// A write, with who waits for it.
struct Writing {
    write: commit::Job,
    done: oneshot::Sender<Result<Reply, StoreError>>,
    held: Held,
}

/// Writes, and returns when it is on the disk. If the caller goes away, a write that has begun goes on,
/// and one that has not is left out.
pub(crate) async fn write(
    space: &Arc<DiskSpace>,
    lease: &Lease,
    write: Write,
    (limit, now): (u64, u64),
) -> Result<Reply, StoreError> {
    let (done, reply) = oneshot::channel();
    let held = Held::new(space, lease);
    let (party, bytes, caller) = (held.party(), write.bytes(), Arc::new(()));
    let write = commit::Job { entry: space.entry.clone(), write, limit, now };
    let work = Writing { write, done, held };
    space.disk.writes.push(Job { party, bytes, caller: Arc::downgrade(&caller), work })?;
    outcome(&space.disk, reply).await
}

async fn outcome<T>(
    disk: &Disk,
    reply: oneshot::Receiver<Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match timeout(DISK_DEADLINE, reply).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => {
            Err(StoreError::Unavailable("the operation on the database broke off".to_owned()))
        }
        Err(_) => {
            let why = format!("the disk took longer than {} s", DISK_DEADLINE.as_secs());
            let slow = Err(StoreError::Unavailable(why));
            disk.health.record(&slow);
            slow
        }
    }
}

/// Carries out writes to one file, and answers.
fn write_all(writes: Vec<Writing>) {
    let (mut jobs, mut done, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for writing in writes {
        jobs.push(writing.write);
        done.push(writing.done);
        held.push(writing.held);
    }
    // After `held`, so that it is dropped before it.
    let Some(disk) = held.first().map(|held| held.space.disk.clone()) else { return };
    let replies = match disk.with_database(|database| commit::commit(database, &jobs)) {
        Ok(replies) => replies,
        Err(failure) => vec![Err(failure); done.len()],
    };
    // First: a caller that has the answer may close the file, and open it elsewhere.
    drop(disk);
    drop(held);
    for (done, reply) in done.into_iter().zip(replies) {
        // The caller has gone if its exchange was cut.
        done.send(reply).ok();
    }
}
