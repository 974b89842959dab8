//! Limits: whoever meets one hurts itself alone.

use host_manifest::{Namespace, StoreConfig};

use super::support::{Kinds, ROOM, memory, one, open, own, runtime, swap};
use crate::limits::pair_size;
use crate::{MAX_ANSWER, MAX_BATCH, MAX_KEY, StoreError, Stores};

/// Room for a pair of a key of one byte with this value, and no more.
const VALUE: u64 = 1_000;

fn limit() -> u64 {
    pair_size("k", VALUE)
}

fn value() -> Vec<u8> {
    vec![b'v'; usize::try_from(VALUE).unwrap()]
}

#[test]
fn a_bucket_takes_its_limit_exactly_and_room_comes_back() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let bucket = one(&stores, store, limit());
            let full = Err(StoreError::Full { limit: limit() });
            bucket.set("k".to_owned(), value()).await.unwrap();
            assert_eq!(bucket.set("l".to_owned(), Vec::new()).await, full);
            assert_eq!(bucket.increment("l".to_owned(), 1).await, full.map(|()| 0));
            assert!(swap(&bucket, "l", None, Vec::new()).await.is_err());
            bucket.set("k".to_owned(), value()).await.unwrap();
            assert!(!bucket.exists("l".to_owned()).await.unwrap());
            bucket.delete("k".to_owned()).await.unwrap();
            bucket.set("l".to_owned(), value()).await.unwrap();
        });
    }
}

#[test]
fn a_batch_that_does_not_fit_changes_nothing() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let bucket = one(&stores, store, limit());
            let entries = ["k", "l"].map(|key| (key.to_owned(), vec![0; 500]));
            assert!(bucket.set_many(entries.to_vec()).await.is_err());
            assert_eq!(bucket.list_keys(None).await.unwrap().keys, Vec::<String>::new());
            bucket.set("k".to_owned(), value()).await.unwrap();
        });
    }
}

#[test]
fn the_buckets_of_one_component_share_its_limit_wherever_they_are() {
    let kinds = Kinds::new();
    let stores = Stores::default();
    let other = StoreConfig::Memory("other".to_owned());
    for store in &kinds.stores {
        runtime().block_on(async {
            let buckets = open(&stores, store, &[own("app", "a"), own("app", "b")], limit());
            let elsewhere = open(&stores, &other, &[own("app", "c")], limit());
            let [a, b] = ["0", "1"].map(|name| buckets.get(name).unwrap());
            let c = elsewhere.get("0").unwrap();
            a.set("k".to_owned(), value()).await.unwrap();
            for bucket in [&b, &c] {
                assert!(bucket.set("k".to_owned(), Vec::new()).await.is_err());
            }
            a.delete("k".to_owned()).await.unwrap();
            c.set("k".to_owned(), value()).await.unwrap();
            assert!(a.set("k".to_owned(), Vec::new()).await.is_err());
        });
    }
}

#[test]
fn other_components_and_shared_buckets_have_room_of_their_own() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let spaces =
                [own("app", "a"), own("neighbour", "a"), Namespace::Shared("a".to_owned())];
            let buckets = open(&stores, store, &spaces, limit());
            for name in ["0", "1", "2"] {
                let bucket = buckets.get(name).unwrap();
                bucket.set("k".to_owned(), value()).await.unwrap();
                assert!(bucket.set("l".to_owned(), Vec::new()).await.is_err());
            }
        });
    }
}

#[test]
fn a_lower_limit_after_a_reload_still_lets_a_component_make_room() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let before = one(&stores, store, ROOM);
            before.set("k".to_owned(), value()).await.unwrap();
            let after = one(&stores, store, 200);
            assert!(after.set("l".to_owned(), Vec::new()).await.is_err());
            after.set("k".to_owned(), vec![0; 100]).await.unwrap();
            assert!(after.get("k".to_owned()).await.unwrap().is_some());
        });
    }
}

#[test]
fn keys_values_and_batches_are_bounded_in_every_store() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let bucket = one(&stores, store, limit());
            let longest = "k".repeat(MAX_KEY);
            bucket.delete(longest.clone()).await.unwrap();
            let long = longest + "k";
            assert_eq!(bucket.get(long.clone()).await, Err(StoreError::KeyTooLong));
            assert_eq!(bucket.exists(long.clone()).await, Err(StoreError::KeyTooLong));
            assert_eq!(bucket.set(long.clone(), Vec::new()).await, Err(StoreError::KeyTooLong));
            assert_eq!(bucket.increment(long.clone(), 1).await, Err(StoreError::KeyTooLong));
            assert_eq!(bucket.delete(long).await, Err(StoreError::KeyTooLong));
            let large = vec![0; usize::try_from(limit()).unwrap()];
            let too_large = StoreError::ValueTooLarge { limit: limit() };
            assert_eq!(bucket.set("k".to_owned(), large.clone()).await, Err(too_large.clone()));
            assert_eq!(swap(&bucket, "k", None, large).await, Err(too_large));
            let many = vec!["k".to_owned(); MAX_BATCH + 1];
            assert_eq!(bucket.get_many(many.clone()).await, Err(StoreError::BatchTooLong));
            assert_eq!(bucket.delete_many(many).await, Err(StoreError::BatchTooLong));
        });
    }
}

#[test]
fn one_large_value_a_thousand_times_is_not_a_thousand_copies() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let bucket = one(&stores, store, ROOM);
            let size = usize::try_from(MAX_ANSWER / 8).unwrap();
            bucket.set("k".to_owned(), vec![0; size]).await.unwrap();
            let eight = bucket.get_many(vec!["k".to_owned(); 8]).await.unwrap();
            assert_eq!(eight.iter().flatten().map(Vec::len).sum::<usize>(), size * 8);
            let many = vec!["k".to_owned(); MAX_BATCH];
            assert_eq!(bucket.get_many(many).await, Err(StoreError::AnswerTooLarge));
        });
    }
}

#[test]
fn room_comes_back_when_a_store_in_memory_is_closed() {
    runtime().block_on(async {
        let stores = Stores::default();
        let kept =
            open(&stores, &StoreConfig::Memory("kept".to_owned()), &[own("app", "a")], limit());
        let kept = kept.get("0").unwrap();
        let gone = one(&stores, &memory(), limit());
        gone.set("k".to_owned(), value()).await.unwrap();
        assert!(kept.set("k".to_owned(), value()).await.is_err());
        drop(gone);
        kept.set("k".to_owned(), value()).await.unwrap();
    });
}
