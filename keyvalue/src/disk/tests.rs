//! A disk that fails, and works again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageBackend};

use super::commit::{Job, commit};
use super::{Disk, Entry, Space, database};
use crate::error::Failure;
use crate::tests::support::{Folder, ROOM, own};
use crate::usage::Accounts;
use crate::write::{Reply, Write};

/// Whether the disk is full. Of this process: only one test uses it.
static FULL: AtomicBool = AtomicBool::new(false);

#[derive(Debug)]
struct Failing(FileBackend);

fn check() -> std::io::Result<()> {
    if FULL.load(Ordering::SeqCst) { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

impl StorageBackend for Failing {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        check().and_then(|()| self.0.set_len(len))
    }

    fn sync_data(&self) -> std::io::Result<()> {
        check().and_then(|()| self.0.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        check().and_then(|()| self.0.write(offset, data))
    }

    fn close(&self) -> std::io::Result<()> {
        self.0.close()
    }
}

fn open_failing(path: &Path) -> Result<Database, DatabaseError> {
    let backend = Failing(FileBackend::new(database::file(path)?)?);
    database::prepared(Database::builder().create_with_backend(backend)?)
}

fn set(disk: &Disk, entry: &Arc<Entry>, key: &str, bytes: usize) -> Result<Reply, Failure> {
    let write = Write::Set(vec![(key.to_owned(), vec![0; bytes])]);
    let job = Job { entry: entry.clone(), write, limit: ROOM };
    disk.with_database(|database| commit(database, std::slice::from_ref(&job)))?.remove(0)
}

fn value(space: &Space, key: &str) -> Option<usize> {
    space.values(&[key.to_owned()], ROOM).unwrap()[0].as_ref().map(Vec::len)
}

#[test]
fn a_disk_that_was_full_takes_writes_again_and_nothing_is_counted_twice() {
    let folder = Folder::new();
    let disk = Disk::open_by(&folder.path().join("data.redb"), open_failing).unwrap();
    let disk = Arc::new(disk);
    let space = disk.space(&own("app", "data"), &Accounts::default()).unwrap();
    set(&disk, &space.entry, "before", 1_000).unwrap();
    let used = space.entry.usage.used();

    FULL.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let result = set(&disk, &space.entry, "lost", 2_000);
        assert!(matches!(result, Err(Failure::Unavailable(_))), "{result:?}");
        assert_eq!(space.entry.usage.used(), used);
    }

    FULL.store(false, Ordering::SeqCst);
    set(&disk, &space.entry, "after", 1_000).unwrap();
    assert_eq!(value(&space, "before"), Some(1_000));
    assert_eq!(value(&space, "lost"), None);
    assert_eq!(value(&space, "after"), Some(1_000));
    let pair = crate::limits::pair_size("after", 1_000);
    assert_eq!(space.entry.usage.used(), used + pair);
}
