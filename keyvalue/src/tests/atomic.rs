//! Atomics under concurrency.

use super::support::{Kinds, ROOM, keys, one, runtime};
use crate::{Bucket, Stores};

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
        if bucket.swap("log".to_owned(), now, next).await.unwrap() {
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
