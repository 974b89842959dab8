//! Lists of keys.

use std::collections::BTreeSet;

use super::support::{Kinds, ROOM, one, runtime};
use crate::{Bucket, MAX_PAGE, Page, Stores};

const KEYS: usize = 2_500;

fn name(number: usize) -> String {
    format!("key {number}")
}

async fn fill(bucket: &Bucket) {
    let all: Vec<_> = (0..KEYS).map(|number| (name(number), b"x".to_vec())).collect();
    for some in all.chunks(1_000) {
        bucket.set_many(some.to_vec()).await.unwrap();
    }
}

/// Every page, with something done after each.
async fn walk(bucket: &Bucket, mut after: impl AsyncFnMut(&Page)) -> Vec<String> {
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = bucket.list_keys(cursor).await.unwrap();
        assert!(page.keys.len() <= MAX_PAGE);
        after(&page).await;
        seen.extend(page.keys);
        match page.cursor {
            None => return seen,
            next => cursor = next,
        }
    }
}

#[test]
fn pages_together_have_every_key() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let bucket = one(&stores, store, ROOM);
            assert_eq!(bucket.list_keys(None).await.unwrap(), Page::default());
            fill(&bucket).await;
            let seen: BTreeSet<_> = walk(&bucket, async |_| {}).await.into_iter().collect();
            assert_eq!(seen, (0..KEYS).map(name).collect());
        });
    }
}

#[test]
fn a_guest_that_deletes_each_page_before_the_next_misses_none() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let bucket = one(&stores, store, ROOM);
            fill(&bucket).await;
            walk(&bucket, async |page| bucket.delete_many(page.keys.clone()).await.unwrap()).await;
            assert_eq!(bucket.list_keys(None).await.unwrap(), Page::default());
        });
    }
}

#[test]
fn keys_that_come_between_two_pages_do_not_hide_others() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let bucket = one(&stores, store, ROOM);
            fill(&bucket).await;
            let mut rounds = 0;
            let seen = walk(&bucket, async |_| {
                rounds += 1;
                let batch = (0..500).map(|number| (format!("{rounds} {number}"), Vec::new()));
                if rounds < 5 {
                    bucket.set_many(batch.collect()).await.unwrap();
                }
            })
            .await;
            let seen: BTreeSet<_> = seen.into_iter().collect();
            assert!((0..KEYS).map(name).all(|key| seen.contains(&key)));
        });
    }
}

#[test]
fn any_number_is_a_cursor() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let stores = Stores::default();
            let bucket = one(&stores, store, ROOM);
            fill(&bucket).await;
            for cursor in [0, 1, 12_345, u64::MAX] {
                bucket.list_keys(Some(cursor)).await.unwrap();
            }
        });
    }
}
