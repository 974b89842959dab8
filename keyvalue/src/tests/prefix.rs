//! Lists of keys by prefix.

use std::collections::BTreeSet;

use super::support::{Kinds, ROOM, one, runtime};
use crate::{Bucket, MAX_LOOK, MAX_PAGE, PrefixPage, StoreError, Stores};

const KEYS: usize = 2_500;

fn name(number: usize) -> String {
    format!("user:{number}")
}

async fn fill(bucket: &Bucket, keys: impl Iterator<Item = String>) {
    let all: Vec<_> = keys.map(|key| (key, b"x".to_vec())).collect();
    for some in all.chunks(1_000) {
        bucket.set_many(some.to_vec()).await.unwrap();
    }
}

/// Every page, with something done after each.
async fn walk(
    bucket: &Bucket,
    prefix: &str,
    most: usize,
    mut after: impl AsyncFnMut(&PrefixPage),
) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys_with_prefix(prefix.to_owned(), cursor, most).await.unwrap();
        assert!(page.keys.len() <= most.clamp(1, MAX_PAGE));
        after(&page).await;
        seen.extend(page.keys);
        match page.cursor {
            None => return seen,
            next => cursor = next,
        }
    }
}

#[test]
fn pages_together_have_every_key_with_the_prefix_once_and_no_other() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let bucket = one(&Stores::default(), store, ROOM);
            assert!(walk(&bucket, "user:", 10, async |_| {}).await.is_empty());
            fill(&bucket, (0..KEYS).map(name)).await;
            let odd = ["", "user", "user;", "User:1", "us*", "\u{10ffff}"].map(str::to_owned);
            fill(&bucket, odd.clone().into_iter()).await;
            for most in [7, 100, MAX_PAGE, usize::MAX] {
                let mut seen = walk(&bucket, "user:", most, async |_| {}).await;
                seen.sort();
                let mut all: Vec<_> = (0..KEYS).map(name).collect();
                all.sort();
                assert_eq!(seen, all, "{most} at a time");
            }
            let seen = walk(&bucket, "", 300, async |_| {}).await;
            assert_eq!(seen.len(), KEYS + odd.len());
            assert_eq!(walk(&bucket, "user:77", 0, async |_| {}).await.len(), 11);
            assert_eq!(walk(&bucket, "us*", 1, async |_| {}).await, ["us*"]);
            assert_eq!(walk(&bucket, "\u{10ffff}", 1, async |_| {}).await, ["\u{10ffff}"]);
            assert!(walk(&bucket, "nobody", 1, async |_| {}).await.is_empty());
        });
    }
}

/// A server that had to make its table smaller meanwhile would give keys twice.
#[test]
fn a_key_that_stands_during_the_whole_walk_is_seen_exactly_once() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let bucket = one(&Stores::default(), store, ROOM);
            fill(&bucket, (0..KEYS).map(name)).await;
            let stands = |number: &usize| number.is_multiple_of(50);
            let mut rounds = 0;
            let seen = walk(&bucket, "user:", 20, async |_| {
                rounds += 1;
                if rounds == 2 {
                    let gone: Vec<_> = (0..KEYS).filter(|n| !stands(n)).map(name).collect();
                    for some in gone.chunks(1_000) {
                        bucket.delete_many(some.to_vec()).await.unwrap();
                    }
                }
                if rounds < 5 {
                    fill(&bucket, (0..500).map(|n| format!("user:new {rounds} {n}"))).await;
                    // Written again is still there.
                    bucket.set(name(0), rounds.to_string().into_bytes()).await.unwrap();
                }
            })
            .await;
            let unique: BTreeSet<_> = seen.iter().collect();
            assert_eq!(unique.len(), seen.len(), "none twice");
            assert!((0..KEYS).filter(stands).map(name).all(|key| unique.contains(&key)));
        });
    }
}

#[test]
fn a_page_looks_at_so_many_pairs_and_no_more() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let bucket = one(&Stores::default(), store, ROOM);
            fill(&bucket, (0..MAX_LOOK + 500).map(|number| format!("other {number}"))).await;
            fill(&bucket, ["rare".to_owned()].into_iter()).await;
            let mut pages = 0;
            let seen = walk(&bucket, "rare", 10, async |_| pages += 1).await;
            assert_eq!(seen, ["rare"]);
            assert!(pages <= 2, "{pages}");
        });
    }
}

#[test]
fn a_cursor_that_is_of_no_such_list_is_refused() {
    for store in &Kinds::new().stores {
        runtime().block_on(async {
            let bucket = one(&Stores::default(), store, ROOM);
            fill(&bucket, (0..10).map(name)).await;
            for cursor in ["not one", "-1", "99999999999999999999999", "ü", "0x"] {
                let page =
                    bucket.list_keys_with_prefix("user:".into(), Some(cursor.into()), 5).await;
                assert_eq!(page, Err(StoreError::WrongCursor), "{cursor}");
            }
            let long = "k".repeat(crate::MAX_KEY + 1);
            let page = bucket.list_keys_with_prefix(long, None, 5).await;
            assert_eq!(page, Err(StoreError::KeyTooLong));
        });
    }
}
