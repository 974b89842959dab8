//! A disk that fails, or hangs, and works again.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::Poll;
use std::time::Duration;

use host_manifest::StoreConfig;
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageBackend};
use tempfile::tempdir;

use super::commit::{self, Entry};
use super::{Disk, DiskSpace, Sharing, database, wait_until_closed};
use crate::bucket::{AnySpace, Bucket};
use crate::error::StoreError;
use crate::lease::Lease;
use crate::limits::MAX_WAITING_BYTES;
use crate::stores::Stores;
use crate::tests::support::{OUTER, ROOM, one, own, runtime};
use crate::ttl::TtlClock;
use crate::usage::Accounts;
use crate::write::{Reply, Write};

/// Whether the disk is full. Of this process: only one test uses it.
static FULL: AtomicBool = AtomicBool::new(false);

/// The disk that hangs. Of this process: only one test uses it.
static HANGING: Hanging = Hanging { state: Mutex::new((false, false)), change: Condvar::new() };

/// A disk that writes through only when it is let.
struct Hanging {
    /// Whether it hangs, and whether somebody waits for it.
    state: Mutex<(bool, bool)>,
    change: Condvar,
}

impl Hanging {
    fn hang(&self, hang: bool) {
        *self.state.lock().unwrap() = (hang, false);
        self.change.notify_all();
    }

    /// Returns when somebody waits for the disk.
    fn met(&self) {
        let state = self.state.lock().unwrap();
        let wait = self.change.wait_timeout_while(state, OUTER, |(_, met)| !*met);
        assert!(!wait.unwrap().1.timed_out(), "nobody writes");
    }

    fn pass(&self) -> std::io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.1 = true;
        self.change.notify_all();
        drop(self.change.wait_while(state, |(hangs, _)| *hangs).unwrap());
        Ok(())
    }
}

/// A file of a disk whose state `check` tells before it changes.
#[derive(Debug)]
struct Watched {
    file: FileBackend,
    change: fn() -> std::io::Result<()>,
    sync: fn() -> std::io::Result<()>,
}

fn check() -> std::io::Result<()> {
    if FULL.load(Ordering::SeqCst) { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

impl StorageBackend for Watched {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        (self.change)().and_then(|()| self.file.set_len(len))
    }

    fn sync_data(&self) -> std::io::Result<()> {
        (self.sync)().and_then(|()| self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        (self.change)().and_then(|()| self.file.write(offset, data))
    }

    fn close(&self) -> std::io::Result<()> {
        self.file.close()
    }
}

fn open_watched(
    path: &Path,
    change: fn() -> std::io::Result<()>,
    sync: fn() -> std::io::Result<()>,
) -> Result<Database, DatabaseError> {
    let backend = Watched { file: FileBackend::new(database::file(path)?)?, change, sync };
    database::prepared(Database::builder().create_with_backend(backend)?)
}

fn open_failing(path: &Path) -> Result<Database, DatabaseError> {
    open_watched(path, check, check)
}

fn open_hanging(path: &Path) -> Result<Database, DatabaseError> {
    open_watched(path, || Ok(()), || HANGING.pass())
}

fn set(disk: &Disk, entry: &Arc<Entry>, key: &str, bytes: usize) -> Result<Reply, StoreError> {
    let write = Write::Set { entries: vec![(key.to_owned(), vec![0; bytes])], ttl: None };
    let job = commit::Job { entry: entry.clone(), write, limit: ROOM, now: 0 };
    disk.with_database(|database| commit::commit(database, std::slice::from_ref(&job)))?.remove(0)
}

fn value(space: &DiskSpace, key: &str) -> Option<usize> {
    space.values(&[key.to_owned()], ROOM, 0).unwrap()[0].as_ref().map(Vec::len)
}

#[test]
fn a_disk_that_was_full_takes_writes_again_and_nothing_is_counted_twice() {
    let folder = tempdir().unwrap();
    let disk =
        Disk::open_by(&folder.path().join("data.redb"), open_failing, Arc::default()).unwrap();
    let disk = Arc::new(disk);
    let space = disk.space(&own("app", "data"), &Accounts::default()).unwrap();
    set(&disk, &space.entry, "before", 1_000).unwrap();
    let used = space.entry.usage.used();

    FULL.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let result = set(&disk, &space.entry, "lost", 2_000);
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
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

/// The bucket of a component in a file.
fn bucket(disk: &Arc<Disk>, component: &str) -> Bucket {
    let space = disk.space(&own(component, "data"), &Accounts::default()).unwrap();
    let lease = Lease::new(disk.clone());
    Bucket::new(AnySpace::Disk(space), lease, ROOM, TtlClock::default())
}

/// Begins a write whose client leaves at once.
async fn begin_and_leave(bucket: &Bucket, key: &str, bytes: usize) {
    let mut write = std::pin::pin!(bucket.set(key.to_owned(), vec![0; bytes]));
    let begun = std::future::poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_pending()));
    assert!(begun.await);
}

/// Writes outlived their callers: a component could leave as much in the memory of the host as it
/// had requests, as long as the disk was slow, and all others in the file waited behind that.
#[test]
fn a_disk_that_hangs_keeps_little_of_those_who_left_and_neighbours_go_first() {
    const LARGE: usize = 7_000 << 10;
    let folder = tempdir().unwrap();
    let disk = Arc::new(
        Disk::open_by(&folder.path().join("data.redb"), open_hanging, Arc::default()).unwrap(),
    );
    let (greedy, neighbour) = (bucket(&disk, "greedy"), bucket(&disk, "neighbour"));
    runtime().block_on(async {
        HANGING.hang(true);
        let first = greedy.clone();
        let first = tokio::spawn(async move { first.set("first".to_owned(), vec![1]).await });
        HANGING.met();
        for number in 0..120 {
            begin_and_leave(&greedy, &number.to_string(), LARGE).await;
            assert!(disk.writes.bytes() <= MAX_WAITING_BYTES);
        }
        let patient: Vec<_> = (0..8)
            .map(|number| {
                let greedy = greedy.clone();
                tokio::spawn(async move { greedy.set(format!("p{number}"), vec![0; LARGE]).await })
            })
            .collect();
        let mut write = std::pin::pin!(neighbour.set("k".to_owned(), vec![1]));
        let begun = std::future::poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_pending()));
        assert!(begun.await);
        HANGING.hang(false);
        first.await.unwrap().unwrap();
        write.await.unwrap();
        let mut refused = 0;
        for task in patient {
            match task.await.unwrap() {
                Ok(()) => {}
                Err(StoreError::Busy) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(refused <= 4, "{refused}");
        for number in 0..120 {
            assert!(!greedy.exists(number.to_string()).await.unwrap(), "{number}");
        }
    });
}

/// A component that keeps all of tokio's threads for blocking work kept every file from working.
#[test]
fn a_file_works_while_the_threads_that_all_share_are_taken() {
    let folder = tempdir().unwrap();
    let disk = Disk::open(&folder.path().join("data.redb"), Arc::default()).unwrap();
    let bucket = bucket(&Arc::new(disk), "app");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (release, taken) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || taken.recv());
    runtime.block_on(async {
        bucket.set("k".to_owned(), vec![1]).await.unwrap();
        assert_eq!(bucket.get("k".to_owned()).await, Ok(Some(vec![1])));
    });
    drop(release);
}

/// Whose turn it is to wait: of this process, and only one test uses it.
static SLOW: Hanging = Hanging { state: Mutex::new((false, false)), change: Condvar::new() };

fn open_slow(path: &Path) -> Result<Database, DatabaseError> {
    open_watched(path, || Ok(()), || SLOW.pass())
}

/// The last exchange on a generation drops it on a worker, and that waited for the disk there.
#[test]
fn who_drops_the_last_of_it_does_not_wait_for_the_disk_and_who_opens_it_again_does() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("data.redb");
    let disk = Arc::new(Disk::open_by(&path, open_slow, Arc::default()).unwrap());
    let last = bucket(&disk, "app");
    drop(disk);
    runtime().block_on(last.set("k".to_owned(), vec![1])).unwrap();
    SLOW.hang(true);
    drop(last);
    SLOW.met();
    let opening = std::thread::spawn(move || Disk::open(&path, Arc::default()).map(Arc::new));
    SLOW.hang(false);
    let again = bucket(&opening.join().unwrap().unwrap(), "app");
    assert_eq!(runtime().block_on(again.get("k".to_owned())), Ok(Some(vec![1])));
}

#[test]
fn who_waits_for_a_turn_for_too_long_is_told_so() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("data.redb");
    let sharing = || {
        let sharing = Sharing::new(Duration::from_millis(5));
        sharing.begin();
        Arc::new(sharing)
    };
    let says = "another process has had it open for 0.005 s";
    let disk = Arc::new(Disk::open(&path, sharing()).unwrap());
    let shared = bucket(&disk, "app");
    let holder = Disk::open(&path, Arc::default()).unwrap();
    let refused = Disk::open(&path, sharing()).unwrap_err().to_string();
    assert!(refused.contains(says), "{refused}");
    runtime().block_on(async {
        for result in
            [shared.set("k".to_owned(), vec![1]).await, shared.get("k".to_owned()).await.map(drop)]
        {
            assert!(matches!(&result, Err(StoreError::Unavailable(why)) if why.contains(says)));
        }
        assert!(disk.trouble().is_some_and(|trouble| trouble.why.contains(says)));
        drop(holder);
        assert!(wait_until_closed(OUTER));
        shared.set("k".to_owned(), vec![1]).await.unwrap();
        assert_eq!(disk.trouble(), None);
    });
}

/// A host of an earlier version has the same file, before an update or after it was taken back: it knows
/// nothing of pairs that end.
#[test]
fn what_an_earlier_version_has_set_stays() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("data.redb");
    let now = Arc::new(AtomicU64::new(1_000));
    let store = StoreConfig::Disk(path.clone());
    let ttl = Duration::from_secs(1);
    runtime().block_on(async {
        let stores = Stores::at(now.clone());
        let bucket = one(&stores, &store, ROOM);
        bucket.set_with_ttl("k".to_owned(), b"new".to_vec(), ttl).await.unwrap();
        bucket.set_with_ttl("l".to_owned(), b"new".to_vec(), ttl).await.unwrap();
        drop(bucket);
    });
    assert!(wait_until_closed(OUTER));
    {
        let database = database::open(&path).unwrap();
        let (id, used) = database::known(&database, "own:app:data").unwrap().unwrap();
        let transaction = database.begin_write().unwrap();
        let place = (id, crate::limits::position("k"), "k");
        transaction.open_table(database::PAIRS).unwrap().insert(place, &b"old"[..]).unwrap();
        let used = used + crate::limits::pair_size("k", 3);
        let mut spaces = transaction.open_table(database::SPACES).unwrap();
        spaces.insert("own:app:data", (id, used)).unwrap();
        drop(spaces);
        transaction.commit().unwrap();
    }
    now.fetch_add(1_000, Ordering::SeqCst);
    let stores = Stores::at(now);
    let limit = crate::limits::pair_size("k", 3) + crate::limits::pair_size("m", 0);
    let bucket = one(&stores, &store, limit);
    runtime().block_on(async {
        stores.sweep().await;
        assert_eq!(bucket.get("k".to_owned()).await, Ok(Some(b"old".to_vec())));
        assert_eq!(bucket.get("l".to_owned()).await, Ok(None));
        assert_eq!(bucket.list_keys(None).await.unwrap().keys, ["k"]);
        // Nothing is counted that is not there.
        bucket.set("m".to_owned(), Vec::new()).await.unwrap();
        assert_eq!(bucket.set("n".to_owned(), Vec::new()).await, Err(StoreError::Full { limit }));
    });
}
