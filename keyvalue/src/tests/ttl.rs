//! Pairs that end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use host_manifest::StoreConfig;
use tempfile::tempdir;
use tokio::time::timeout;

use super::support::{Kinds, OUTER, ROOM, file, keys, one, open, own, runtime};
use crate::limits::kept_size;
use crate::{Bucket, StoreError, Stores, Swapped, wait_until_closed};

const TTL: Duration = Duration::from_secs(1);

/// A clock that the test moves.
#[derive(Clone)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_700_000_000_000)))
    }

    fn stores(&self) -> Stores {
        Stores::at(self.0.clone())
    }

    fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

fn key() -> String {
    "k".to_owned()
}

async fn set_for(bucket: &Bucket, key: &str, ttl: Duration) {
    bucket.set_with_ttl(key.to_owned(), b"7".to_vec(), ttl).await.unwrap();
}

/// Whatever shows keys shows this one, or nothing does.
async fn is_there(bucket: &Bucket) -> bool {
    let there = bucket.exists(key()).await.unwrap();
    assert_eq!(bucket.get(key()).await.unwrap().is_some(), there);
    let many = bucket.get_many(keys(["k", "none"])).await.unwrap();
    assert_eq!((many[0].is_some(), &many[1]), (there, &None));
    let listed = bucket.list_keys(None).await.unwrap();
    assert_eq!((listed.keys.contains(&key()), listed.cursor), (there, None));
    let listed = bucket.list_keys_with_prefix(key(), None, 10).await.unwrap();
    assert_eq!(listed.keys.contains(&key()), there);
    there
}

#[test]
fn a_pair_is_there_until_its_time_is_over_and_not_a_millisecond_longer() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let hand = Hand::new();
            let bucket = one(&hand.stores(), store, ROOM);
            set_for(&bucket, "k", TTL).await;
            hand.pass(TTL - Duration::from_millis(1));
            assert!(is_there(&bucket).await);
            hand.pass(Duration::from_millis(1));
            assert!(!is_there(&bucket).await);
        });
    }
}

#[test]
fn a_key_that_has_ended_is_a_key_that_is_not_there() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let hand = Hand::new();
            let bucket = one(&hand.stores(), store, ROOM);
            for name in ["k", "n", "s"] {
                set_for(&bucket, name, TTL).await;
            }
            hand.pass(TTL);
            assert_eq!(bucket.increment("n".to_owned(), 1).await, Ok(1));
            let swap = |expected: Option<&[u8]>| {
                let expected = expected.map(<[u8]>::to_vec);
                bucket.compare_and_swap("s".to_owned(), expected, Some(vec![1]), None)
            };
            assert_eq!(swap(Some(b"7")).await, Ok(Swapped::Other(None)));
            assert_eq!(swap(None).await, Ok(Swapped::Done));
            // What came after it has no end.
            hand.pass(TTL * 1_000);
            assert_eq!(bucket.get("n".to_owned()).await, Ok(Some(b"1".to_vec())));
            assert_eq!(bucket.get("s".to_owned()).await, Ok(Some(vec![1])));
        });
    }
}

/// Writes to a key that ends, in each way that there is; the key is there afterwards.
async fn write(bucket: &Bucket, way: &str) {
    let (seven, eight) = (Some(b"7".to_vec()), b"8".to_vec());
    let swap = |expected, ttl| bucket.compare_and_swap(key(), expected, Some(eight.clone()), ttl);
    match way {
        "set" => bucket.set(key(), eight).await.unwrap(),
        "set-many" => bucket.set_many(vec![(key(), eight)]).await.unwrap(),
        "increment" => drop(bucket.increment(key(), 1).await.unwrap()),
        "again" => set_for(bucket, "k", TTL * 2).await,
        "delete" => {
            bucket.delete(key()).await.unwrap();
            bucket.set(key(), eight).await.unwrap();
        }
        "swap" => drop(swap(seven, None).await.unwrap()),
        "swap for" => drop(swap(seven, Some(TTL * 2)).await.unwrap()),
        "swap fails" => drop(swap(None, None).await.unwrap()),
        _ => panic!("{way}"),
    }
}

#[test]
fn every_write_sets_the_end_but_an_increment_which_keeps_it() {
    // When the key ends then, in times to live.
    let ways = [
        ("set", None),
        ("set-many", None),
        ("increment", Some(1)),
        ("again", Some(2)),
        ("delete", None),
        ("swap", None),
        ("swap for", Some(2)),
        ("swap fails", Some(1)),
    ];
    for store in &Kinds::new().stores {
        for (way, ends) in ways {
            runtime().block_on(async {
                let hand = Hand::new();
                let stores = hand.stores();
                let bucket = one(&stores, store, ROOM);
                set_for(&bucket, "k", TTL).await;
                write(&bucket, way).await;
                let value: &[u8] = if way == "again" || way == "swap fails" { b"7" } else { b"8" };
                assert_eq!(bucket.get(key()).await, Ok(Some(value.to_vec())), "{way}");
                let mut seen = None;
                for number in 1..4 {
                    hand.pass(TTL);
                    stores.sweep().await;
                    if !is_there(&bucket).await {
                        seen = Some(number);
                        break;
                    }
                }
                assert_eq!(seen, ends, "{way} in {store:?}");
                bucket.delete(key()).await.unwrap();
            });
        }
    }
}

#[test]
fn what_has_ended_makes_room_for_a_write_that_needs_it() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let hand = Hand::new();
            let limit = kept_size("k", 1, 0);
            let bucket = one(&hand.stores(), store, limit);
            set_for(&bucket, "k", TTL).await;
            assert_eq!(bucket.set("l".into(), Vec::new()).await, Err(StoreError::Full { limit }));
            assert_eq!(bucket.increment("l".into(), 1).await, Err(StoreError::Full { limit }));
            hand.pass(TTL);
            bucket.set("l".into(), Vec::new()).await.unwrap();
            set_for(&bucket, "l", TTL).await;
            hand.pass(TTL);
            assert_eq!(bucket.increment("m".into(), 1).await, Ok(1));
        });
    }
}

#[test]
fn what_has_ended_is_freed_without_a_write_to_its_bucket() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let (hand, many) = (Hand::new(), 2_500);
            let stores = hand.stores();
            let limit = (0..many).map(|n| kept_size(&format!("{n}"), 1, 0)).sum();
            let buckets = open(&stores, store, &[own("app", "a"), own("app", "b")], limit);
            let [a, b] = ["0", "1"].map(|name| buckets.get(name).unwrap());
            for number in 0..many {
                set_for(&a, &number.to_string(), TTL).await;
            }
            let full = Err(StoreError::Full { limit });
            stores.sweep().await;
            assert_eq!(b.set(key(), Vec::new()).await, full);
            hand.pass(TTL);
            // It is another bucket's: a write to this one cannot free it.
            assert_eq!(b.set(key(), Vec::new()).await, full);
            stores.sweep().await;
            let value = vec![0; usize::try_from(limit / 2).unwrap()];
            a.set("l".to_owned(), value.clone()).await.unwrap();
            a.delete("l".to_owned()).await.unwrap();
            b.set(key(), value).await.unwrap();
        });
    }
}

#[test]
fn by_the_clocks_that_there_are_a_pair_ends_too() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let bucket = one(&Stores::default(), store, ROOM);
            set_for(&bucket, "k", Duration::from_mins(10)).await;
            assert!(is_there(&bucket).await);
            set_for(&bucket, "k", Duration::from_millis(1)).await;
            let gone = async { while bucket.exists(key()).await.unwrap() {} };
            timeout(OUTER, gone).await.unwrap();
            assert!(!is_there(&bucket).await);
        });
    }
}

#[test]
fn a_time_to_live_of_nothing_is_refused_and_a_very_long_one_is_none() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let bucket = one(&Stores::default(), store, ROOM);
            let set = |ttl| bucket.set_with_ttl(key(), Vec::new(), ttl);
            assert_eq!(set(Duration::ZERO).await, Err(StoreError::NoTimeToLive));
            assert!(!is_there(&bucket).await);
            set(Duration::MAX).await.unwrap();
            assert!(is_there(&bucket).await);
        });
    }
}

#[test]
fn a_database_file_keeps_the_ends_of_its_pairs() {
    let folder = tempdir().unwrap();
    let store = StoreConfig::Disk(file(&folder));
    let hand = Hand::new();
    let limit = kept_size("k", 1, 0);
    runtime().block_on(async {
        let bucket = one(&hand.stores(), &store, limit);
        set_for(&bucket, "k", TTL).await;
        drop(bucket);
        assert!(wait_until_closed(OUTER));
        let bucket = one(&hand.stores(), &store, limit);
        assert!(is_there(&bucket).await);
        drop(bucket);
        assert!(wait_until_closed(OUTER));
        hand.pass(TTL);
        let stores = hand.stores();
        let buckets = open(&stores, &store, &[own("app", "data"), own("app", "other")], limit);
        assert!(!is_there(&buckets.get("0").unwrap()).await);
        let other = buckets.get("1").unwrap();
        let full = Err(StoreError::Full { limit });
        assert_eq!(other.set(key(), Vec::new()).await, full);
        stores.sweep().await;
        other.set(key(), Vec::new()).await.unwrap();
    });
}
