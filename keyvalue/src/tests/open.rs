//! Who sees what, and for how long.

use host_manifest::{Namespace, StoreConfig};

use super::support::{Kinds, ROOM, memory, one, open, own, runtime};
use crate::{Bucket, Buckets, Stores};

async fn write(bucket: &Bucket, value: &str) {
    bucket.set("k".to_owned(), value.as_bytes().to_vec()).await.unwrap();
}

async fn read(bucket: &Bucket) -> Option<String> {
    bucket.get("k".to_owned()).await.unwrap().map(|value| String::from_utf8(value).unwrap())
}

/// Names that would be the same place if they were only put together.
fn look_alikes() -> Vec<Namespace> {
    let shared = |name: &str| Namespace::Shared(name.to_owned());
    vec![
        own("a", "b"),
        own("a", "b:c"),
        own("a:b", "c"),
        own("a", ""),
        own("", "a"),
        own("a", "*"),
        own("a%3Ab", "c"),
        own("a/b", "c"),
        own("a", "b/c"),
        own("shared", "b"),
        shared("b"),
        shared("a:b"),
        shared("a"),
        shared("own:a:b"),
        shared(""),
    ]
}

#[test]
fn no_space_reaches_the_keys_of_another_whatever_their_names() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let spaces = look_alikes();
            let buckets = open(&stores, store, &spaces, ROOM);
            let bucket = |number: usize| buckets.get(&number.to_string()).unwrap();
            for (number, space) in spaces.iter().enumerate() {
                assert_eq!(read(&bucket(number)).await, None, "{space:?}");
                write(&bucket(number), &number.to_string()).await;
                write_odd_keys(&bucket(number)).await;
            }
            for number in 0..spaces.len() {
                assert_eq!(read(&bucket(number)).await, Some(number.to_string()));
                assert_eq!(bucket(number).list_keys(None).await.unwrap().keys.len(), 4);
            }
        });
    }
}

async fn write_odd_keys(bucket: &Bucket) {
    for key in ["", ":k", "b:k"] {
        bucket.set(key.to_owned(), b"other".to_vec()).await.unwrap();
    }
}

#[test]
fn generations_and_components_that_name_the_same_space_share_it() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let shared = [Namespace::Shared("sessions".to_owned())];
            let first = open(&stores, store, &shared, ROOM).get("0").unwrap();
            let second = open(&stores.clone(), store, &shared, ROOM).get("0").unwrap();
            write(&first, "seen").await;
            assert_eq!(read(&second).await, Some("seen".to_owned()));
        });
    }
}

#[test]
fn a_swap_keeps_what_the_generation_before_wrote() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let mut current = one(&stores, store, ROOM);
            write(&current, "kept").await;
            for _ in 0..3 {
                let next = one(&stores, store, ROOM);
                assert_eq!(read(&next).await, Some("kept".to_owned()));
                current = next;
            }
            assert_eq!(read(&current).await, Some("kept".to_owned()));
        });
    }
}

#[test]
fn stores_in_memory_are_told_apart_by_name_and_gone_with_their_last_user() {
    runtime().block_on(async {
        let stores = Stores::default();
        let bucket = one(&stores, &memory(), ROOM);
        let other = one(&stores, &StoreConfig::Memory("other".to_owned()), ROOM);
        write(&bucket, "here").await;
        assert_eq!(read(&other).await, None);
        drop(bucket);
        assert_eq!(read(&one(&stores, &memory(), ROOM)).await, None);
    });
}

#[test]
fn a_name_that_was_not_granted_is_no_bucket() {
    let stores = Stores::default();
    let buckets = open(&stores, &memory(), &[own("app", "data")], ROOM);
    assert!(buckets.get("0").is_some());
    assert!(buckets.get("data").is_none());
    assert!(!buckets.is_empty());
    assert!(Buckets::default().is_empty());
    assert!(Buckets::default().get("0").is_none());
}
