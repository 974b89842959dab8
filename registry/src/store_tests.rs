//! The store: damage, crashes, room, and two processes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::{ContentDigest, ContentStore, Trimmed};

fn none() -> BTreeSet<ContentDigest> {
    BTreeSet::new()
}

fn open(place: &TempDir, largest: u64) -> ContentStore {
    ContentStore::open(&place.path().join("store"), largest).unwrap()
}

fn path(place: &TempDir, digest: ContentDigest) -> std::path::PathBuf {
    place.path().join("store/sha256").join(digest.hex())
}

/// As if it had been used that long ago.
fn age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn what_was_written_is_read_and_nobody_else_may_look() {
    let place = TempDir::new().unwrap();
    let store = open(&place, 1000);
    let digest = store.write(b"component", &none()).unwrap();
    assert_eq!(digest, ContentDigest::of(b"component"));
    assert_eq!(store.read(digest).unwrap().as_deref(), Some(&b"component"[..]));
    assert_eq!(store.read(ContentDigest::of(b"other")).unwrap(), None);
    for made in ["store", "store/sha256"] {
        let mode = fs::metadata(place.path().join(made)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{made}");
    }
}

#[test]
fn a_directory_that_others_may_read_is_shut() {
    let place = TempDir::new().unwrap();
    fs::create_dir(place.path().join("store")).unwrap();
    fs::set_permissions(place.path().join("store"), fs::Permissions::from_mode(0o755)).unwrap();
    open(&place, 1000);
    let mode = fs::metadata(place.path().join("store")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_file_in_place_of_the_directory_is_told_by_its_path() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("store"), "").unwrap();
    let error = ContentStore::open(&place.path().join("store"), 1000).unwrap_err().to_string();
    assert!(error.starts_with(&format!("the store {}", place.path().display())), "{error}");
}

#[test]
fn a_file_that_was_altered_or_cut_off_is_removed_and_missing() {
    let place = TempDir::new().unwrap();
    let store = open(&place, 1000);
    for damaged in [&b"componenT"[..], b"compo", b"", b"component and more"] {
        let digest = store.write(b"component", &none()).unwrap();
        fs::write(path(&place, digest), damaged).unwrap();
        assert_eq!(store.read(digest).unwrap(), None);
        assert!(!path(&place, digest).exists());
    }
    let digest = store.write(b"component", &none()).unwrap();
    assert!(store.read(digest).unwrap().is_some());
}

#[test]
fn the_least_recently_used_goes_first_and_never_what_is_in_use() {
    let place = TempDir::new().unwrap();
    let store = open(&place, 25);
    let [old, older, oldest] =
        [b"0123456789", b"1234567890", b"2345678901"].map(|bytes| ContentDigest::of(bytes));
    let in_use = BTreeSet::from([oldest]);
    store.write(b"0123456789", &in_use).unwrap();
    store.write(b"1234567890", &in_use).unwrap();
    age(&path(&place, old), 100);
    age(&path(&place, older), 200);
    // Reading is using.
    assert!(store.read(older).unwrap().is_some());
    store.write(b"2345678901", &in_use).unwrap();
    let here = |digest| path(&place, digest).exists();
    assert_eq!((here(old), here(older), here(oldest)), (false, true, true));
    age(&path(&place, oldest), 300);
    let small = open(&place, 10);
    assert_eq!(small.trim(&in_use).unwrap(), Trimmed { removed: 1, bytes: 10 });
    assert_eq!((here(older), here(oldest)), (false, true));
    let all_in_use = open(&place, 5).trim(&in_use).unwrap();
    assert_eq!(all_in_use, Trimmed { removed: 0, bytes: 10 });
}

#[test]
fn one_that_is_larger_than_the_store_is_there_until_the_next() {
    let place = TempDir::new().unwrap();
    let store = open(&place, 5);
    let large = store.write(b"0123456789", &none()).unwrap();
    assert!(store.read(large).unwrap().is_some());
    store.write(b"small", &none()).unwrap();
    assert_eq!(store.read(large).unwrap(), None);
}

#[test]
fn what_a_crash_has_left_is_removed_and_what_is_being_written_is_not() {
    let place = TempDir::new().unwrap();
    let store = open(&place, 1000);
    let files = place.path().join("store/sha256");
    fs::write(files.join(".new-left"), "half").unwrap();
    fs::write(files.join(".new-now"), "half").unwrap();
    fs::write(files.join("README"), "not of the store").unwrap();
    age(&files.join(".new-left"), 2 * 60 * 60);
    store.trim(&none()).unwrap();
    assert!(!files.join(".new-left").exists());
    assert!(files.join(".new-now").exists() && files.join("README").exists());
}

/// Writers, readers and trimmers of one directory: a reader sees the content or nothing, and nobody fails.
#[test]
fn several_may_use_one_directory_at_once() {
    let place = TempDir::new().unwrap();
    let contents: Vec<Vec<u8>> = (0..8_u8).map(|byte| vec![byte; 10_000]).collect();
    thread::scope(|scope| {
        for _ in 0..4 {
            // Each has opened it for itself, as processes do.
            let store = open(&place, 30_000);
            let contents = &contents;
            scope.spawn(move || {
                for _ in 0..25 {
                    for bytes in contents {
                        let digest = store.write(bytes, &none()).unwrap();
                        let read = store.read(digest).unwrap();
                        assert!(read.is_none_or(|read| read == *bytes));
                    }
                }
            });
        }
    });
    let left = fs::read_dir(place.path().join("store/sha256")).unwrap();
    assert!(left.count() <= 3, "half-written files are left");
}
