//! Atomics under concurrency.

use std::time::Duration;

use super::support::{Kinds, ROOM, keys, one, runtime, swap};
use crate::{Bucket, Stores, Swapped};

const TASKS: usize = 8;
const ROUNDS: usize = 50;

/// Runs `work` in tasks that begin together, and gives what each came to.
async fn together<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    bucket: &Bucket,
    work: impl Fn(Bucket) -> F,
) -> Vec<T> {
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(work(bucket.clone()))).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

#[test]
fn increments_from_many_tasks_add_up_and_each_gets_another_sum() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let bucket = one(&Stores::default(), store, ROOM);
            let sums = together(&bucket, async |bucket| {
                let mut sums = Vec::new();
                for _ in 0..ROUNDS {
                    sums.push(bucket.increment("visits".to_owned(), 1).await.unwrap());
                }
                sums
            });
            let mut sums = sums.await.concat();
            sums.sort_unstable();
            let expected: Vec<u64> = (1..=(TASKS * ROUNDS) as u64).collect();
            assert_eq!(sums, expected);
        });
    }
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

#[test]
fn of_writers_that_compare_and_swap_none_loses_a_write() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let bucket = one(&Stores::default(), store, ROOM);
            together(&bucket, async |bucket| {
                for _ in 0..ROUNDS / 5 {
                    append(&bucket).await;
                }
            })
            .await;
            let log = bucket.get("log".to_owned()).await.unwrap().unwrap();
            assert_eq!(log.len(), TASKS * (ROUNDS / 5));
        });
    }
}

/// Adds 1 to the number of a key that has none at first, by compare-and-swap alone.
async fn count_up(bucket: &Bucket, mut now: Option<Vec<u8>>) {
    loop {
        let number = now.as_deref().map_or(0, |now| str::from_utf8(now).unwrap().parse().unwrap());
        let next = Some((number + 1_u64).to_string().into_bytes());
        match bucket.compare_and_swap("n".to_owned(), now, next, None).await.unwrap() {
            Swapped::Done => return,
            // What another one has made of it: no need to read it.
            Swapped::Other(other) => now = other,
        }
    }
}

#[test]
fn of_increments_by_compare_and_swap_none_is_lost() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let bucket = one(&Stores::default(), store, ROOM);
            together(&bucket, async |bucket| {
                for _ in 0..ROUNDS / 5 {
                    count_up(&bucket, None).await;
                }
            })
            .await;
            let number = bucket.get("n".to_owned()).await.unwrap().unwrap();
            assert_eq!(number, (TASKS * (ROUNDS / 5)).to_string().into_bytes());
        });
    }
}

/// A lock: who finds no such key has it, and nobody else.
#[test]
fn of_many_that_expect_no_value_one_sets_its_own() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let bucket = one(&Stores::default(), store, ROOM);
            let won = together(&bucket, async |bucket| {
                let (own, ttl) = (Some(b"mine".to_vec()), Some(Duration::from_mins(10)));
                bucket.compare_and_swap("lock".to_owned(), None, own, ttl).await.unwrap()
            })
            .await;
            let (done, other): (Vec<_>, Vec<_>) =
                won.into_iter().partition(|won| *won == Swapped::Done);
            assert_eq!((done.len(), other.len()), (1, TASKS - 1));
            assert!(other.iter().all(|other| *other == Swapped::Other(Some(b"mine".to_vec()))));
        });
    }
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let bucket = one(&Stores::default(), store, ROOM);
            together(&bucket, async |bucket| {
                for round in 0..ROUNDS / 5 {
                    let value = vec![u8::try_from(round).unwrap()];
                    let entries = ["left", "right"].map(|key| (key.to_owned(), value.clone()));
                    bucket.set_many(entries.to_vec()).await.unwrap();
                    let both = keys(["left", "right"]);
                    let seen = bucket.get_many(both).await.unwrap();
                    assert_eq!(seen[0], seen[1]);
                }
            })
            .await;
        });
    }
}
