use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;
use wasmtime::Engine;

use super::*;

/// A directory that the cache creates, in a folder that is removed with the test.
struct CacheFolder {
    path: PathBuf,
    _folder: TempDir,
}

impl CacheFolder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { path: folder.path().join("cache"), _folder: folder }
    }
}

fn key(byte: u8) -> ArtefactKey {
    ArtefactKey::new(&Engine::new(&crate::settings(false)).unwrap(), &[byte; 32])
}

#[test]
fn only_stored_entries_are_found() {
    let folder = CacheFolder::new();
    let cache = ArtefactCache::open(&folder.path).unwrap();
    assert!(cache.get(&key(1)).is_none());
    cache.put(&key(1), &Artefact::seal(&key(1), b"one", &[]));
    let found = ArtefactCache::open(&folder.path).unwrap().get(&key(1)).unwrap();
    assert_eq!(found.bytes(), Artefact::seal(&key(1), b"one", &[]).bytes());
    assert!(cache.get(&key(2)).is_none());
    // An entry under another key's name is a miss.
    let path = |byte| folder.path.join(entry(&key(byte)));
    fs::rename(path(1), path(2)).unwrap();
    assert!(cache.get(&key(2)).is_none());
    assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 1, "nothing that was being written");
}

#[test]
fn the_least_recently_used_entries_are_removed_and_foreign_files_stay() {
    let folder = CacheFolder::new();
    let mut cache = ArtefactCache::open(&folder.path).unwrap();
    let artefact = |byte| Artefact::seal(&key(byte), &[byte; 1_000], &[]);
    cache.largest = 3 * artefact(0).bytes().len() as u64;
    let aged = |byte, hours: u64| {
        let file = File::options().write(true).open(folder.path.join(entry(&key(byte)))).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600 * hours)).unwrap();
    };
    let others = ["notes.txt", "thesis.code", ".new-notes", ".new-1-x", ".new-1", "big.code"];
    for name in others {
        let file = File::create(folder.path.join(name)).unwrap();
        file.set_len(10 * cache.largest).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    for byte in 1..=3 {
        cache.put(&key(byte), &artefact(byte));
    }
    for byte in 1..=3 {
        aged(byte, 24 + u64::from(byte));
    }
    // Use makes it young again.
    assert!(cache.get(&key(3)).is_some());
    let stale = folder.path.join(".new-1-1");
    fs::write(&stale, "half").unwrap();
    let long_ago = SystemTime::now() - 2 * STALE;
    File::options().write(true).open(&stale).unwrap().set_modified(long_ago).unwrap();
    fs::write(folder.path.join(".new-1-2"), "being written").unwrap();
    cache.put(&key(4), &artefact(4));
    let kept: Vec<u8> = (1..=4).filter(|byte| cache.get(&key(*byte)).is_some()).collect();
    assert_eq!(kept, [1, 3, 4]);
    for name in others {
        assert!(folder.path.join(name).exists(), "{name}");
    }
    assert!(!stale.exists() && folder.path.join(".new-1-2").exists());
}

/// A host of thousands of components had more code than the cache kept: each start compiled all of it anew.
#[test]
fn what_was_used_lately_stays_where_it_is_eight_times_too_much() {
    let folder = CacheFolder::new();
    let mut cache = ArtefactCache::open(&folder.path).unwrap();
    let artefact = Artefact::seal(&key(0), &[0; 1_000], &[]);
    cache.largest = artefact.bytes().len() as u64;
    let entries = || fs::read_dir(&folder.path).unwrap().count();
    for byte in 1..=8 {
        assert!(cache.put(&key(byte), &artefact));
    }
    assert_eq!(entries(), 8);
    assert!(cache.put(&key(9), &artefact));
    assert_eq!(entries(), 8);
}

#[test]
fn what_is_in_use_is_not_swept_however_old_it_is() {
    let folder = CacheFolder::new();
    let mut cache = ArtefactCache::open(&folder.path).unwrap();
    let artefact = Artefact::seal(&key(0), &[0; 1_000], &[]);
    cache.largest = artefact.bytes().len() as u64;
    let put_old = |byte| {
        assert!(cache.put(&key(byte), &artefact));
        let file = File::options().write(true).open(folder.path.join(entry(&key(byte)))).unwrap();
        file.set_modified(SystemTime::now() - 2 * LATELY).unwrap();
    };
    let is_there = |byte| folder.path.join(entry(&key(byte))).exists();
    let (once, twice) = (cache.use_entry(&key(1)), cache.use_entry(&key(1)));
    put_old(1);
    put_old(2);
    drop(once);
    put_old(3);
    assert_eq!([1, 2, 3].map(is_there), [true, false, true]);
    drop(twice);
    put_old(4);
    assert_eq!([1, 3, 4].map(is_there), [false, false, true]);
}

/// Another host, with more memory, may have stored it. Reading it would kill this host.
#[test]
fn an_entry_that_cannot_be_held_is_not_read() {
    let folder = CacheFolder::new();
    let artefact = Artefact::seal(&key(1), &[1; 1_000], &[]);
    let size = artefact.bytes().len() as u64;
    let open = |most: u64| ArtefactCache::open(&folder.path).unwrap().holding(most);
    open(size).put(&key(1), &artefact);
    assert!(open(size).get(&key(1)).is_some());
    assert!(open(size - 1).get(&key(1)).is_none());
}

/// On a small file system full of old entries, no new entry was ever stored.
#[test]
fn old_entries_are_removed_only_if_the_new_one_then_fits() {
    let folder = CacheFolder::new();
    let cache = ArtefactCache::open(&folder.path).unwrap();
    let artefact = Artefact::seal(&key(0), &[0; 1_000], &[]);
    let size = artefact.bytes().len() as u64;
    for byte in 1..=3 {
        cache.put(&key(byte), &artefact);
        let file = File::options().write(true).open(folder.path.join(entry(&key(byte)))).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(u64::from(byte))).unwrap();
    }
    let kept = || (1..=3).filter(|byte| folder.path.join(entry(&key(*byte))).exists());
    // The entry to be written does not have to make room.
    assert!(!cache.make_room(&entry(&key(1)), 2 * size + 1).unwrap());
    assert_eq!(kept().collect::<Vec<_>>(), [1, 2, 3]);
    assert!(cache.make_room(&entry(&key(4)), size + 1).unwrap());
    assert_eq!(kept().collect::<Vec<_>>(), [1]);
}

/// The cache directory was removed while the host ran. After that no entry was stored, each time with a
/// warning.
#[test]
fn a_directory_that_was_removed_is_made_again() {
    let folder = CacheFolder::new();
    let cache = ArtefactCache::open(&folder.path).unwrap();
    for byte in 1..=2 {
        fs::remove_dir_all(&folder.path).unwrap();
        assert!(cache.get(&key(byte)).is_none());
        cache.put(&key(byte), &Artefact::seal(&key(byte), b"code", &[]));
        assert!(cache.get(&key(byte)).is_some());
        assert_eq!(fs::metadata(&folder.path).unwrap().permissions().mode() & 0o777, 0o700);
    }
    // A directory of another user in its place is not used.
    fs::remove_dir_all(&folder.path).unwrap();
    fs::create_dir(&folder.path).unwrap();
    fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o777)).unwrap();
    cache.put(&key(3), &Artefact::seal(&key(3), b"code", &[]));
    assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 0);
}

/// Two caches of one process, or two hosts that are process 1 of their containers, give a new file the same
/// name. The second once removed the file that the first was writing, and the first then moved the second's
/// half into its place.
#[test]
fn a_writer_that_finds_a_name_taken_takes_another() {
    let folder = CacheFolder::new();
    let cache = ArtefactCache::open(&folder.path).unwrap();
    let (taken, mut first) = cache.create_new(&cache.directory().clone()).unwrap();
    let second = ArtefactCache::open(&folder.path).unwrap();
    second.put(&key(1), &Artefact::seal(&key(1), b"second", &[]));
    assert!(second.get(&key(1)).is_some());
    first.write_all(b"first").unwrap();
    assert_eq!(fs::read(folder.path.join(taken)).unwrap(), b"first");
}

#[test]
fn hosts_that_write_the_same_entry_at_once_leave_a_whole_one() {
    let folder = CacheFolder::new();
    let write = || {
        let cache = ArtefactCache::open(&folder.path).unwrap();
        for _ in 0..50 {
            cache.put(&key(1), &Artefact::seal(&key(1), &[7; 100_000], &[]));
            assert!(cache.get(&key(1)).is_some());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(write);
        }
    });
    assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 1);
}

#[test]
fn a_directory_that_other_users_may_write_to_is_refused() {
    let folder = CacheFolder::new();
    fs::create_dir(&folder.path).unwrap();
    for (mode, refused) in [(0o755, false), (0o700, false), (0o775, true), (0o757, true)] {
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(mode)).unwrap();
        let opened = ArtefactCache::open(&folder.path);
        assert_eq!(matches!(opened, Err(CacheError::Open { .. })), refused, "{mode:o}");
    }
}
