//! What a server keeps of pairs that end, and of the order of keys.

use std::time::Duration;

use tempfile::{TempDir, tempdir};

use host_manifest::StoreConfig;

use super::support::{ROOM, Server, one, runtime};
use crate::limits::{kept_size, pair_size};
use crate::{Bucket, StoreError, Stores};

const HASH: &[u8] = b"host:own:app:data";
const ENDS: &[u8] = b"host:own:app:data:ends";
const LONG: Duration = Duration::from_mins(10);

fn key() -> String {
    "k".to_owned()
}

/// As an operator asks the server.
async fn tell(server: &Server, words: &[&[u8]]) -> redis::Value {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query_async(&mut connection).await.unwrap()
}

async fn listed(bucket: &Bucket) -> Vec<String> {
    bucket.list_keys_with_prefix(String::new(), None, 100).await.unwrap().keys
}

#[test]
fn an_emptied_bucket_leaves_nothing_behind_that_counts() {
    let folder = tempdir().unwrap();
    let Some(server) = Server::start(&folder) else {
        return;
    };
    runtime().block_on(async {
        let bucket = one(&Stores::default(), &server.store(), ROOM);
        bucket.set_with_ttl(key(), Vec::new(), LONG).await.unwrap();
        assert_eq!(listed(&bucket).await, ["k"]);
        bucket.delete(key()).await.unwrap();
        assert_eq!(tell(&server, &[b"KEYS", b"*"]).await, redis::Value::Array(Vec::new()));
        // By hand, and only the hash.
        bucket.set_with_ttl(key(), Vec::new(), Duration::from_millis(1)).await.unwrap();
        tell(&server, &[b"UNLINK", HASH]).await;
        bucket.set(key(), b"stays".to_vec()).await.unwrap();
        bucket.set_with_ttl("l".to_owned(), Vec::new(), LONG).await.unwrap();
        assert_eq!(bucket.get(key()).await, Ok(Some(b"stays".to_vec())));
        let score = tell(&server, &[b"ZSCORE", ENDS, b"k"]).await;
        assert_eq!(score, redis::Value::Nil);
    });
}

#[test]
fn keys_that_are_written_by_hand_are_listed_too() {
    let folder = tempdir().unwrap();
    let Some(server) = Server::start(&folder) else {
        return;
    };
    runtime().block_on(async {
        let bucket = one(&Stores::default(), &server.store(), ROOM);
        bucket.set("b".to_owned(), Vec::new()).await.unwrap();
        assert_eq!(listed(&bucket).await, ["b"]);
        tell(&server, &[b"HSET", HASH, b"a", b"1", b"\xf0odd", b"1", b"c", b"1"]).await;
        assert_eq!(listed(&bucket).await, ["a", "b", "c"]);
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = bucket.list_keys_with_prefix(String::new(), cursor, 1).await.unwrap();
            seen.extend(page.keys);
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["a", "b", "c"]);
    });
}

#[test]
fn pairs_that_end_are_counted_anew_like_all_others() {
    let folder = tempdir().unwrap();
    let Some(server) = Server::start(&folder) else {
        return;
    };
    runtime().block_on(async {
        let limit = kept_size("k", 3, 0) + pair_size("l", 0);
        let bucket = one(&Stores::default(), &server.store(), limit);
        bucket.set_with_ttl(key(), vec![0; 3], LONG).await.unwrap();
        tell(&server, &[b"HDEL", HASH, b"\xff"]).await;
        bucket.set("l".to_owned(), Vec::new()).await.unwrap();
        let count = tell(&server, &[b"HGET", HASH, b"\xff"]).await;
        assert_eq!(count, redis::Value::BulkString(limit.to_string().into_bytes()));
        assert_eq!(bucket.set("m".to_owned(), Vec::new()).await, Err(StoreError::Full { limit }));
    });
}

/// A server with a user that has these rights, as the docs name them.
fn with_rights(folder: &TempDir, more: &str) -> Option<(Server, StoreConfig)> {
    let acl = folder.path().join("users.acl");
    let rights = format!("on >secret ~host:* +@hash +@scripting +hello +client {more}");
    std::fs::write(&acl, format!("user default off\nuser app {rights}\n")).unwrap();
    let server = Server::start_with(folder, &["--aclfile", acl.to_str().unwrap()])?;
    let store = StoreConfig::Redis(format!("{}?user=app&pass=secret", server.url()));
    Some((server, store))
}

#[test]
fn a_user_needs_more_rights_for_what_needs_more_and_nothing_else() {
    let folder = tempdir().unwrap();
    let Some((_server, store)) = with_rights(&folder, "") else {
        return;
    };
    runtime().block_on(async {
        let bucket = one(&Stores::default(), &store, ROOM);
        bucket.set("n".to_owned(), b"1".to_vec()).await.unwrap();
        let lacking = bucket.set_with_ttl(key(), Vec::new(), LONG).await;
        assert!(matches!(lacking, Err(StoreError::Unavailable(_))), "{lacking:?}");
        assert_eq!(bucket.increment("n".to_owned(), 1).await, Ok(2));
    });
    let folder = tempdir().unwrap();
    let Some((_server, store)) = with_rights(&folder, "+@sortedset +time") else {
        return;
    };
    runtime().block_on(async {
        let bucket = one(&Stores::default(), &store, ROOM);
        bucket.set_with_ttl(key(), Vec::new(), LONG).await.unwrap();
        assert_eq!(listed(&bucket).await, ["k"]);
        assert_eq!(bucket.get(key()).await, Ok(Some(Vec::new())));
        assert!(bucket.free().await.is_ok());
        bucket.delete(key()).await.unwrap();
    });
}
