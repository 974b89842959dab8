//! What is on the disk stays.

use std::os::unix::fs::PermissionsExt as _;

use host_manifest::StoreConfig;

use tempfile::tempdir;

use super::support::{Counting, OUTER, ROOM, file, one, open, own, refusal, runtime};
use crate::limits::pair_size;
use crate::{OpenError, StoreError, Stores, wait_until_closed};

fn key() -> String {
    "k".to_owned()
}

#[test]
fn closing_and_opening_again_keeps_pairs_and_what_they_count() {
    let folder = tempdir().unwrap();
    let limit = pair_size("k", 1_000);
    runtime().block_on(async {
        let stores = Stores::default();
        let store = StoreConfig::Disk(file(&folder));
        for round in 0..3 {
            let bucket = one(&stores, &store, limit);
            assert_eq!(bucket.exists(key()).await.unwrap(), round > 0);
            bucket.set(key(), vec![round; 1_000]).await.unwrap();
            assert_eq!(
                bucket.set("l".to_owned(), Vec::new()).await,
                Err(StoreError::Full { limit })
            );
            drop(bucket);
            let bucket = one(&stores, &store, limit);
            assert_eq!(bucket.get(key()).await.unwrap(), Some(vec![round; 1_000]));
            assert_eq!(
                bucket.set("l".to_owned(), Vec::new()).await,
                Err(StoreError::Full { limit })
            );
        }
    });
}

/// What the process has written is what a process that is killed leaves.
#[test]
fn a_copy_of_the_file_while_it_is_open_has_every_finished_write() {
    let folder = tempdir().unwrap();
    let copy = folder.path().join("copy.redb");
    runtime().block_on(async {
        let stores = Stores::default();
        let bucket = one(&stores, &StoreConfig::Disk(file(&folder)), ROOM);
        for number in 1..=20 {
            bucket.increment(key(), 1).await.unwrap();
            std::fs::copy(file(&folder), &copy).unwrap();
            let copied = one(&Stores::default(), &StoreConfig::Disk(copy.clone()), ROOM);
            let value = copied.get(key()).await.unwrap().unwrap();
            assert_eq!(value, number.to_string().into_bytes());
            drop(copied);
            // Before the next copy is written into it.
            assert!(wait_until_closed(OUTER));
        }
    });
}

/// A start that was refused left the file that it had made, wherever a mistyped path had led.
#[test]
fn a_file_that_was_made_and_not_written_to_is_gone_when_it_is_closed() {
    let folder = tempdir().unwrap();
    let store = StoreConfig::Disk(file(&folder));
    runtime().block_on(async {
        let bucket = one(&Stores::default(), &store, ROOM);
        assert!(file(&folder).exists());
        drop(bucket);
        assert!(wait_until_closed(OUTER));
        assert!(!file(&folder).exists());
        let bucket = one(&Stores::default(), &store, ROOM);
        bucket.set(key(), Vec::new()).await.unwrap();
        drop(bucket);
        assert!(wait_until_closed(OUTER));
        assert!(file(&folder).exists(), "something is in it");
        let bucket = one(&Stores::default(), &store, ROOM);
        bucket.delete(key()).await.unwrap();
        drop(bucket);
        assert!(file(&folder).exists(), "it was there before");
    });
}

/// Not a test: what the next one kills.
#[test]
fn child_counts_until_it_is_killed() {
    if let Some(store) = Counting::in_child() {
        Counting::count(&one(&Stores::default(), &store, ROOM));
    }
}

#[test]
fn a_process_that_is_killed_loses_no_confirmed_write() {
    let folder = tempdir().unwrap();
    let mut least = 0;
    for _ in 0..3 {
        let mut counting = Counting::start("tests::disk::child_counts_until_it_is_killed", &folder);
        let confirmed = counting.confirmed(20);
        assert!(confirmed > least);
        drop(counting);
        let bucket = one(&Stores::default(), &StoreConfig::Disk(file(&folder)), ROOM);
        let now = runtime().block_on(bucket.increment(key(), 0)).unwrap();
        assert!(now >= confirmed, "{now} < {confirmed}");
        drop(bucket);
        // Before the next process opens it.
        assert!(wait_until_closed(OUTER));
        least = now;
    }
}

#[test]
fn a_file_that_somebody_else_has_open_is_refused_with_a_reason() {
    let folder = tempdir().unwrap();
    let holder = one(&Stores::default(), &StoreConfig::Disk(file(&folder)), ROOM);
    let refusal = refusal(&file(&folder));
    assert!(refusal.contains("another process has it open"), "{refusal}");
    assert!(refusal.contains("data.redb"), "{refusal}");
    drop(holder);
}

#[test]
fn one_file_under_two_names_is_one_store() {
    let folder = tempdir().unwrap();
    let link = folder.path().join("link.redb");
    std::os::unix::fs::symlink(file(&folder), &link).unwrap();
    let stores = Stores::default();
    let first = one(&stores, &StoreConfig::Disk(file(&folder)), ROOM);
    let dots = folder.path().join("..").join(folder.path().file_name().unwrap()).join("data.redb");
    for other in [link, dots] {
        let second = one(&stores, &StoreConfig::Disk(other), ROOM);
        runtime().block_on(async {
            let sum = first.increment(key(), 1).await.unwrap();
            assert_eq!(second.increment(key(), 1).await.unwrap(), sum + 1);
        });
    }
}

#[test]
fn files_that_cannot_be_opened_are_refused_with_a_sentence() {
    let folder = tempdir().unwrap();
    let garbage = folder.path().join("garbage");
    std::fs::write(&garbage, "not a database at all".repeat(1_000)).unwrap();
    for (path, expected) in [
        (folder.path().join("no/such/folder"), "its folder does not exist: create it"),
        (folder.path().to_owned(), "it is a folder: name a file in it"),
        (garbage.clone(), "not a database of this host"),
    ] {
        let refusal = refusal(&path);
        assert!(refusal.contains(expected), "{refusal}");
    }
    assert_eq!(std::fs::read(&garbage).unwrap(), b"not a database at all".repeat(1_000));
}

#[test]
fn nothing_stays_open_when_one_of_several_is_refused() {
    let folder = tempdir().unwrap();
    let stores = Stores::default();
    let bucket =
        |path| host_manifest::BucketConfig { store: StoreConfig::Disk(path), space: own("a", "b") };
    let buckets = [
        ("good".to_owned(), bucket(file(&folder))),
        ("poor".to_owned(), bucket(folder.path().join("no/such"))),
    ];
    let refused = stores.open(&buckets.into(), ROOM);
    assert!(matches!(refused, Err(OpenError::Disk { .. })));
    drop(one(&Stores::default(), &StoreConfig::Disk(file(&folder)), ROOM));
}

#[test]
fn only_the_owner_may_read_a_new_file() {
    let folder = tempdir().unwrap();
    let _open = one(&Stores::default(), &StoreConfig::Disk(file(&folder)), ROOM);
    let mode = std::fs::metadata(file(&folder)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn closing_waits_for_a_write_that_nobody_waits_for() {
    let folder = tempdir().unwrap();
    let store = StoreConfig::Disk(file(&folder));
    let stores = Stores::default();
    runtime().block_on(async {
        for round in 0..20 {
            let buckets = open(&stores, &store, &[own("app", "data")], ROOM);
            let bucket = buckets.get("0").unwrap();
            drop(buckets);
            let mut write = Box::pin(async move { bucket.set(key(), vec![round]).await });
            let begun = std::future::poll_fn(|cx| {
                let polled = write.as_mut().poll(cx);
                std::task::Poll::Ready(polled.is_pending())
            });
            begun.await;
            drop(write);
            let again = one(&stores, &store, ROOM);
            assert!(again.exists("other".to_owned()).await.is_ok());
        }
    });
}
