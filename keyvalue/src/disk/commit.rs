//! One transaction for all writes that wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{Database, ReadableTable as _, StorageError, Table, WriteTransaction};

use super::database::{ENDS, PAIRS, SPACES, TIMED, ends_of};
use crate::end::NEVER;
use crate::error::StoreError;
use crate::limits::{kept_size, position};
use crate::ttl::NextEnd;
use crate::usage::Usage;
use crate::write::{Pair, Pairs, Reply, Write, apply};

/// A space, as the file knows it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) id: u32,
    pub(super) usage: Usage,
    pub(super) next_end: NextEnd,
}

/// A write to one space.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) entry: Arc<Entry>,
    pub(super) write: Write,
    pub(super) limit: u64,
    /// The moment for which it is carried out.
    pub(super) now: u64,
}

/// Carries out writes, in their order, and returns when they are on the disk. A write that is
/// refused leaves the others alone. After an error none has happened, as far as is known.
pub(super) fn commit(
    database: &Database,
    jobs: &[Job],
) -> Result<Vec<Result<Reply, StoreError>>, redb::Error> {
    let before: BTreeMap<u32, (&Entry, u64)> =
        jobs.iter().map(|job| (job.entry.id, (&*job.entry, job.entry.usage.used()))).collect();
    let result = transaction(database, jobs, &before);
    if result.is_err() {
        for (entry, used) in before.values() {
            entry.usage.correct(*used);
        }
    }
    result
}

fn transaction(
    database: &Database,
    jobs: &[Job],
    touched: &BTreeMap<u32, (&Entry, u64)>,
) -> Result<Vec<Result<Reply, StoreError>>, redb::Error> {
    let transaction = database.begin_write()?;
    let mut replies = Vec::new();
    let freed = {
        let mut view = View::open(&transaction)?;
        for job in jobs {
            view.id = job.entry.id;
            let usage = (&job.entry.usage, job.limit);
            replies.push(apply(&job.write, &mut view, usage, job.now)?);
        }
        let mut spaces = transaction.open_table(SPACES)?;
        for (entry, _) in touched.values() {
            spaces.insert(&*entry.name, (entry.id, entry.usage.used()))?;
        }
        view.freed
    };
    if freed || replies.iter().any(changes) {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(replies)
}

/// Whether there is anything to wait for the disk for.
fn changes(reply: &Result<Reply, StoreError>) -> bool {
    matches!(reply, Ok(Reply::Done | Reply::Number(_) | Reply::Swapped))
}

type Place = (u32, u64, &'static str);

/// The pairs of one space, inside of a transaction.
struct View<'a> {
    pairs: Table<'a, Place, &'static [u8]>,
    timed: Table<'a, Place, (u64, &'static [u8])>,
    ends: Table<'a, (u32, u64, u64, &'static str), ()>,
    id: u32,
    /// Whether pairs that had ended have been removed, of any space.
    freed: bool,
}

impl<'a> View<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            pairs: transaction.open_table(PAIRS)?,
            timed: transaction.open_table(TIMED)?,
            ends: transaction.open_table(ENDS)?,
            id: 0,
            freed: false,
        })
    }
}

impl View<'_> {
    fn place<'k>(&self, key: &'k str) -> (u32, u64, &'k str) {
        (self.id, position(key), key)
    }

    fn remove_timed(&mut self, key: &str) -> Result<u64, StorageError> {
        let place = self.place(key);
        let Some((ends, size)) = self.timed.remove(place)?.map(|found| {
            let (ends, value) = found.value();
            (ends, kept_size(key, value.len() as u64, ends))
        }) else {
            return Ok(0);
        };
        self.ends.remove((place.0, ends, place.1, key))?;
        Ok(size)
    }
}

impl Pairs for View<'_> {
    type Broken = StorageError;

    fn pair(&self, key: &str) -> Result<Option<Pair>, StorageError> {
        if let Some(value) = self.pairs.get(self.place(key))? {
            return Ok(Some((value.value().to_vec(), NEVER)));
        }
        Ok(self.timed.get(self.place(key))?.map(|found| {
            let (ends, value) = found.value();
            (value.to_vec(), ends)
        }))
    }

    /// Of both that there are if an earlier version has set one of them.
    fn size(&self, key: &str) -> Result<u64, StorageError> {
        let plain = self.pairs.get(self.place(key))?;
        let plain = plain.map_or(0, |value| kept_size(key, value.value().len() as u64, NEVER));
        let timed = self.timed.get(self.place(key))?;
        let timed = timed.map_or(0, |found| {
            let (ends, value) = found.value();
            kept_size(key, value.len() as u64, ends)
        });
        Ok(plain + timed)
    }

    fn put(&mut self, key: &str, value: &[u8], ends: u64) -> Result<(), StorageError> {
        let place = self.place(key);
        self.remove_timed(key)?;
        if ends == NEVER {
            return self.pairs.insert(place, value).map(drop);
        }
        self.pairs.remove(place)?;
        self.timed.insert(place, (ends, value))?;
        self.ends.insert((place.0, ends, place.1, key), ()).map(drop)
    }

    fn remove(&mut self, key: &str) -> Result<(), StorageError> {
        self.remove_timed(key)?;
        self.pairs.remove(self.place(key)).map(drop)
    }

    fn free(&mut self, now: u64, most: usize) -> Result<u64, StorageError> {
        let range = (self.id, 0, 0, "")..(self.id, now.saturating_add(1), 0, "");
        let mut over = Vec::new();
        for end in self.ends.range(range)?.take(most) {
            over.push(end?.0.value().3.to_owned());
        }
        let mut freed = 0_u64;
        for key in &over {
            freed += self.remove_timed(key)?;
        }
        self.freed |= !over.is_empty();
        Ok(freed)
    }

    fn next_end(&self) -> Result<u64, StorageError> {
        let first = self.ends.range(ends_of(self.id))?.next().transpose()?;
        Ok(first.map_or(NEVER, |(place, _)| place.value().1))
    }
}
