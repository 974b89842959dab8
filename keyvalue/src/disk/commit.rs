//! One transaction for all writes that wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{Database, ReadableTable as _, StorageError, Table};

use super::database::{PAIRS, SPACES};
use crate::error::StoreError;
use crate::limits::position;
use crate::usage::Usage;
use crate::write::{Pairs, Reply, Write, apply};

/// A space, as the file knows it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) id: u32,
    pub(super) usage: Usage,
}

/// A write to one space.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) entry: Arc<Entry>,
    pub(super) write: Write,
    pub(super) limit: u64,
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
    {
        let mut view = View { table: transaction.open_table(PAIRS)?, id: 0 };
        for job in jobs {
            view.id = job.entry.id;
            replies.push(apply(&job.write, &mut view, &job.entry.usage, job.limit)?);
        }
        let mut spaces = transaction.open_table(SPACES)?;
        for (entry, _) in touched.values() {
            spaces.insert(&*entry.name, (entry.id, entry.usage.used()))?;
        }
    }
    if replies.iter().any(changes) {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(replies)
}

/// Whether there is anything to wait for the disk for.
fn changes(reply: &Result<Reply, StoreError>) -> bool {
    matches!(reply, Ok(Reply::Done | Reply::Number(_) | Reply::Swapped(true)))
}

/// The pairs of one space, inside of a transaction.
struct View<'a> {
    table: Table<'a, (u32, u64, &'static str), &'static [u8]>,
    id: u32,
}

impl View<'_> {
    fn place<'k>(&self, key: &'k str) -> (u32, u64, &'k str) {
        (self.id, position(key), key)
    }
}

impl Pairs for View<'_> {
    type Broken = StorageError;

    fn value(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let found = self.table.get(self.place(key))?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    fn length(&self, key: &str) -> Result<Option<u64>, StorageError> {
        let found = self.table.get(self.place(key))?;
        Ok(found.map(|value| value.value().len() as u64))
    }

    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), StorageError> {
        self.table.insert(self.place(key), value).map(drop)
    }

    fn remove(&mut self, key: &str) -> Result<(), StorageError> {
        self.table.remove(self.place(key)).map(drop)
    }
}
