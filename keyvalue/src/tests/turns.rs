//! Two processes use one file. Two `Stores` shut each other out as two processes do: a lock belongs to who
//! has opened the file.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use host_manifest::StoreConfig;
use tempfile::{TempDir, tempdir};

use super::support::{Counting, OUTER, ROOM, file, one, refusal, runtime, swap};
use crate::limits::pair_size;
use crate::{Bucket, StoreError, Stores, wait_until_closed};

const TASKS: usize = 3;
const ROUNDS: usize = 20;

fn key() -> String {
    "k".to_owned()
}

fn disk(folder: &TempDir) -> StoreConfig {
    StoreConfig::Disk(file(folder))
}

/// Those of a process that overlaps with another one.
fn sharing() -> Stores {
    let stores = Stores::default();
    stores.share();
    stores
}

/// Waits until nobody has the file open: a thread answers first, and closes then.
fn closed(folder: &TempDir) {
    std::fs::File::open(file(folder)).unwrap().lock().unwrap();
}

/// Appends a byte if nobody else has changed the value meanwhile; again if so.
async fn append(bucket: &Bucket) {
    loop {
        let now = bucket.get("log".to_owned()).await.unwrap();
        let mut next = now.clone().unwrap_or_default();
        next.push(b'.');
        if swap(bucket, "log", now, next).await.unwrap() {
            return;
        }
    }
}

/// Counts, and reads what it has just written.
async fn work(bucket: Bucket, task: String) -> Vec<u64> {
    let mut sums = Vec::new();
    for round in 0..ROUNDS {
        sums.push(bucket.increment(key(), 1).await.unwrap());
        let own = format!("{task}.{round}");
        bucket.set(own.clone(), own.clone().into_bytes()).await.unwrap();
        assert_eq!(bucket.get(own.clone()).await.unwrap(), Some(own.into_bytes()));
        if round % 4 == 0 {
            append(&bucket).await;
        }
    }
    sums
}

#[test]
fn what_two_processes_write_by_turns_is_all_there_and_they_count_as_one() {
    let folder = tempdir().unwrap();
    let sides = [sharing(), sharing()];
    let buckets = [0, 1].map(|side| one(&sides[side], &disk(&folder), ROOM));
    runtime().block_on(async {
        let tasks: Vec<_> = (0..2 * TASKS)
            .map(|task| tokio::spawn(work(buckets[task % 2].clone(), task.to_string())))
            .collect();
        let mut sums = Vec::new();
        for task in tasks {
            sums.extend(task.await.unwrap());
        }
        sums.sort_unstable();
        assert_eq!(sums, (1..=(2 * TASKS * ROUNDS) as u64).collect::<Vec<_>>());
        for bucket in &buckets {
            let found: BTreeSet<_> =
                bucket.list_keys(None).await.unwrap().keys.into_iter().collect();
            assert_eq!(found.len(), 2 * TASKS * ROUNDS + 2);
            let log = bucket.get("log".to_owned()).await.unwrap().unwrap();
            assert_eq!(log.len(), 2 * TASKS * ROUNDS.div_ceil(4));
        }
    });
}

/// An upgrade, and the next one, and the next one, under load.
#[test]
fn a_process_takes_over_from_another_while_both_work() {
    let folder = tempdir().unwrap();
    runtime().block_on(async {
        let mut old = Stores::default();
        let mut bucket = one(&old, &disk(&folder), ROOM);
        let mut expected = 0;
        for upgrade in 0..3 {
            let done = Arc::new(AtomicBool::new(false));
            let until = done.clone();
            let worker = tokio::spawn(async move {
                let mut own = 0;
                while !until.load(Ordering::SeqCst) {
                    bucket.increment(key(), 1).await.unwrap();
                    own += 1;
                }
                own
            });
            let new = sharing();
            let (opener, store) = (new.clone(), disk(&folder));
            let opened = tokio::task::spawn_blocking(move || one(&opener, &store, ROOM));
            old.share();
            let next = opened.await.unwrap();
            expected += work(next.clone(), format!("upgrade {upgrade}")).await.len() as u64;
            done.store(true, Ordering::SeqCst);
            // Its last bucket goes with it.
            expected += worker.await.unwrap();
            drop(old);
            new.keep();
            expected += work(next.clone(), format!("after {upgrade}")).await.len() as u64;
            assert_eq!(next.increment(key(), 0).await, Ok(expected));
            (old, bucket) = (new, next);
        }
        let refusal = refusal(&file(&folder));
        assert!(refusal.contains("another process has it open"), "{refusal}");
    });
}

#[test]
fn a_file_that_nobody_uses_is_let_go_of_and_kept_again_all_the_same() {
    let folder = tempdir().unwrap();
    let (first, second) = (Stores::default(), sharing());
    let bucket = one(&first, &disk(&folder), ROOM);
    refusal(&file(&folder));
    first.share();
    let other = one(&second, &disk(&folder), ROOM);
    drop(other);
    assert!(wait_until_closed(OUTER));
    first.keep();
    // It opens the file when it finds it closed, and no operation of its own is needed.
    let buckets = || {
        let space = super::support::own("app", "data");
        let bucket = host_manifest::BucketConfig { store: disk(&folder), space };
        [("data".to_owned(), bucket)].into()
    };
    while Stores::default().open(&buckets(), ROOM).is_ok() {
        assert!(wait_until_closed(OUTER));
    }
    drop(bucket);
}

#[test]
fn a_limit_holds_for_what_both_processes_write() {
    let folder = tempdir().unwrap();
    let limit = 3 * pair_size("1", 1_000);
    let (first, second) = (sharing(), sharing());
    let first = one(&first, &disk(&folder), limit);
    let second = one(&second, &disk(&folder), limit);
    runtime().block_on(async {
        let set =
            async |bucket: &Bucket, name: &str| bucket.set(name.to_owned(), vec![0; 1_000]).await;
        let full = Err(StoreError::Full { limit });
        set(&first, "1").await.unwrap();
        set(&second, "2").await.unwrap();
        set(&first, "3").await.unwrap();
        for bucket in [&first, &second] {
            assert_eq!(set(bucket, "4").await, full);
            // What is there may be written again.
            set(bucket, "3").await.unwrap();
        }
        first.delete("2".to_owned()).await.unwrap();
        set(&second, "4").await.unwrap();
        for bucket in [&first, &second] {
            assert_eq!(set(bucket, "5").await, full);
        }
        second.delete_many(["1", "3", "4"].map(str::to_owned).to_vec()).await.unwrap();
        for name in ["1", "2", "3"] {
            set(&first, name).await.unwrap();
        }
        assert_eq!(set(&first, "4").await, full);
    });
}

/// Another process may have it open, or be about to.
#[test]
fn a_file_that_has_been_shared_is_left_behind_even_if_nothing_is_in_it() {
    for kept in [false, true] {
        for shared_when_made in [false, true] {
            let folder = tempdir().unwrap();
            let stores = if shared_when_made { sharing() } else { Stores::default() };
            let bucket = one(&stores, &disk(&folder), ROOM);
            stores.share();
            if kept {
                stores.keep();
            }
            drop(bucket);
            assert!(wait_until_closed(OUTER));
            assert!(file(&folder).exists(), "kept: {kept}, made: {shared_when_made}");
        }
    }
}

/// Not a test: what the next one kills.
#[test]
fn child_counts_by_turns_until_it_is_killed() {
    if let Some(store) = Counting::in_child() {
        Counting::count(&one(&sharing(), &store, ROOM));
    }
}

#[test]
fn a_process_that_is_killed_in_its_turn_loses_no_confirmed_write_and_the_other_goes_on() {
    let folder = tempdir().unwrap();
    let bucket = one(&sharing(), &disk(&folder), ROOM);
    runtime().block_on(async {
        let mut own = 0;
        for _ in 0..5 {
            let (done, worker) = (Arc::new(AtomicBool::new(false)), bucket.clone());
            let until = done.clone();
            let worker = tokio::spawn(async move {
                let mut confirmed = 0;
                while !until.load(Ordering::SeqCst) {
                    confirmed = worker.increment("own".to_owned(), 1).await.unwrap();
                    worker.get(key()).await.unwrap();
                }
                confirmed
            });
            let child = "tests::turns::child_counts_by_turns_until_it_is_killed";
            let mut counting = Counting::start(child, &folder);
            let confirmed = tokio::task::spawn_blocking(move || {
                let confirmed = counting.confirmed(20);
                // Killed here, while it goes on.
                drop(counting);
                confirmed
            });
            let confirmed = confirmed.await.unwrap();
            assert!(bucket.increment(key(), 0).await.unwrap() >= confirmed);
            done.store(true, Ordering::SeqCst);
            let counted = worker.await.unwrap();
            assert!(counted >= own);
            own = counted;
            assert_eq!(bucket.increment("own".to_owned(), 0).await, Ok(own));
        }
    });
}

/// What a process that is killed leaves is what it has written while the file is open.
#[test]
fn a_turn_that_is_to_read_repairs_what_a_killed_process_has_left() {
    let (folder, other) = (tempdir().unwrap(), tempdir().unwrap());
    let holder = one(&Stores::default(), &disk(&other), ROOM);
    let bucket = one(&sharing(), &disk(&folder), ROOM);
    runtime().block_on(async {
        for number in 1..=3 {
            holder.increment(key(), 1).await.unwrap();
            // In the bucket nobody works, so its file is closed.
            std::fs::copy(file(&other), file(&folder)).unwrap();
            let value = bucket.get(key()).await.unwrap();
            assert_eq!(value, Some(number.to_string().into_bytes()));
            assert_eq!(bucket.increment(key(), 1).await, Ok(number + 1));
            closed(&folder);
        }
    });
}
