//! Buckets in a database file.
//!
//! ```text
//! write ─→ queue.rs ─→ one thread at a time ─→ commit.rs: all that waits, in one transaction
//! read  ─→ a blocking thread ─→ a snapshot
//! ```
//!
//! A write is on the disk before its caller hears of it. Those that come while another is being
//! written through share the next transaction: the disk is waited for once for all of them.

mod commit;
mod database;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use redb::ReadableDatabase as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::commit::Job;
use self::database::{Guarded, Opener, PAIRS, SPACES};
use self::queue::Queue;
use crate::bucket::Page;
use crate::error::{Failure, OpenError};
use crate::health::Health;
use crate::limits::{DISK_DEADLINE, MAX_PAGE, position};
use crate::names::name;
use crate::stores::Lease;
use crate::usage::{Accounts, Usage};
use crate::write::{Reply, Write};

/// A database file, and who writes to it. Dropping it closes the file.
#[derive(Debug)]
pub(crate) struct Disk {
    database: Guarded,
    queue: Queue,
    spaces: Mutex<BTreeMap<host_manifest::Space, Arc<Entry>>>,
    health: Health,
}

/// A space, as the file knows it.
#[derive(Debug)]
struct Entry {
    name: String,
    id: u32,
    usage: Usage,
}

impl Disk {
    /// Opens the file, or makes it. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_by(path, database::open)
    }

    fn open_by(path: &Path, opener: Opener) -> Result<Self, OpenError> {
        Ok(Self {
            database: Guarded::open(path, opener)?,
            queue: Queue::default(),
            spaces: Mutex::default(),
            health: Health::new(path.display().to_string()),
        })
    }

    /// The space, as all who name it see it. Blocks.
    pub(crate) fn space(
        self: &Arc<Self>,
        space: &host_manifest::Space,
        accounts: &Accounts,
    ) -> Result<Arc<Space>, OpenError> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match spaces.get(space) {
            Some(entry) => entry.clone(),
            None => {
                let name = name(space);
                let (id, used) = self.database.register(&name)?;
                let usage = Usage::new(accounts.of(space), used);
                let entry = Arc::new(Entry { name, id, usage });
                spaces.insert(space.clone(), entry.clone());
                entry
            }
        };
        Ok(Arc::new(Space { disk: self.clone(), entry }))
    }

    /// Carries out what waits, until nothing does. Blocks.
    fn commit_all(&self) {
        while let Some(jobs) = self.queue.next() {
            let (work, done): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
            let result = self.with_database(|database| commit::commit(database, &work));
            answer(result, done);
        }
    }

    /// Runs `work` on the open file. After a failure of the disk the file is opened again first.
    fn with_database<T>(
        &self,
        work: impl Fn(&redb::Database) -> Result<T, redb::Error>,
    ) -> Result<T, Failure> {
        let result = self.database.run(work, |database| self.count_again(database));
        self.health.saw(&result);
        result
    }

    /// After the file has been opened again: what it says of itself is what counts.
    fn count_again(&self, database: &redb::Database) -> Result<(), redb::Error> {
        let transaction = database.begin_read()?;
        let table = transaction.open_table(SPACES)?;
        let spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in spaces.values() {
            let used = table.get(&*entry.name)?.map_or(0, |found| found.value().1);
            entry.usage.correct(used);
        }
        Ok(())
    }
}

fn answer(
    result: Result<Vec<Result<Reply, Failure>>, Failure>,
    done: Vec<oneshot::Sender<Result<Reply, Failure>>>,
) {
    let replies = match result {
        Ok(replies) => replies,
        Err(failure) => vec![Err(failure); done.len()],
    };
    for (done, reply) in done.into_iter().zip(replies) {
        // Nobody waits any more when the exchange has been cut.
        done.send(reply).ok();
    }
}

/// One space of a file.
#[derive(Debug)]
pub(crate) struct Space {
    disk: Arc<Disk>,
    entry: Arc<Entry>,
}

impl Space {
    /// All of one moment. Fails if they are more than `limit` bytes together.
    pub(crate) fn values(
        &self,
        keys: &[String],
        limit: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        let found = self.disk.with_database(|database| {
            let table = database.begin_read()?.open_table(PAIRS)?;
            let (mut values, mut total) = (Vec::new(), 0_u64);
            for key in keys {
                let value = table.get((self.entry.id, position(key), &**key))?;
                total += value.as_ref().map_or(0, |value| value.value().len() as u64);
                if total > limit {
                    return Ok(None);
                }
                values.push(value.map(|value| value.value().to_vec()));
            }
            Ok(Some(values))
        })?;
        found.ok_or(Failure::AnswerTooLarge)
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool, Failure> {
        self.disk.with_database(|database| {
            let table = database.begin_read()?.open_table(PAIRS)?;
            Ok(table.get((self.entry.id, position(key), key))?.is_some())
        })
    }

    pub(crate) fn list(&self, from: u64) -> Result<Page, Failure> {
        let id = self.entry.id;
        self.disk.with_database(|database| {
            let table = database.begin_read()?.open_table(PAIRS)?;
            let mut page = Page::default();
            let mut last = from;
            // Ids are given out in order, far below the largest one.
            for pair in table.range((id, from, "")..(id.saturating_add(1), 0, ""))? {
                let (place, _) = pair?;
                let (_, position, key) = place.value();
                if page.keys.len() >= MAX_PAGE && position != last {
                    page.cursor = Some(position);
                    break;
                }
                last = position;
                page.keys.push(key.to_owned());
            }
            Ok(page)
        })
    }
}

/// Reads on a thread that may block. The store stays open until the read has ended, even if nobody
/// waits for it any more.
pub(crate) async fn read<T: Send + 'static>(
    space: &Arc<Space>,
    hold: &Arc<Lease>,
    work: impl FnOnce(&Space) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (space, hold) = (space.clone(), hold.clone());
    let task = tokio::task::spawn_blocking(move || {
        let result = work(&space);
        drop(space);
        drop(hold);
        result
    });
    match timeout(DISK_DEADLINE, task).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(broke_off()),
        Err(_) => Err(too_slow()),
    }
}

/// Writes, and returns when it is on the disk. A write that nobody waits for any more goes on.
pub(crate) async fn write(
    space: &Arc<Space>,
    hold: &Arc<Lease>,
    write: Write,
    limit: u64,
) -> Result<Reply, Failure> {
    let (done, reply) = oneshot::channel();
    let job = Job { entry: space.entry.clone(), write, limit };
    if let Some(turn) = Queue::push(&space.disk, job, done) {
        let hold = hold.clone();
        // Detached: it answers through the channel, and ends when nothing waits.
        drop(tokio::task::spawn_blocking(move || {
            turn.take();
            drop(hold);
        }));
    }
    match timeout(DISK_DEADLINE, reply).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(broke_off()),
        Err(_) => {
            let slow = Err(too_slow());
            space.disk.health.saw(&slow);
            slow
        }
    }
}

fn broke_off() -> Failure {
    Failure::Unavailable("the operation on the database broke off".to_owned())
}

fn too_slow() -> Failure {
    Failure::Unavailable(format!("the disk took longer than {} s", DISK_DEADLINE.as_secs()))
}
