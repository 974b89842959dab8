//! A Redis server that is not there, goes away, hangs, and is used by others.

use std::process::Command;
use std::time::Duration;

use host_manifest::StoreConfig;
use tokio::time::timeout;

use tempfile::tempdir;

use super::support::{ROOM, Server, one, open, own, runtime, swap};
use crate::limits::pair_size;
use crate::{Bucket, StoreError, Stores};

/// Longer than anything here takes.
const OUTER: Duration = Duration::from_secs(20);

fn key() -> String {
    "k".to_owned()
}

fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}

/// Asks until there is an answer: each attempt has its own deadline.
async fn works_again(bucket: &Bucket) {
    let answered = async { while is_unavailable(&bucket.increment(key(), 1).await) {} };
    timeout(OUTER, answered).await.unwrap();
}

#[test]
fn a_server_that_is_down_is_an_error_at_first_use_and_not_before() {
    let folder = tempdir().unwrap();
    let store = Server::store_in(&folder);
    runtime().block_on(async {
        let bucket = one(&Stores::default(), &store, ROOM);
        for _ in 0..3 {
            assert!(is_unavailable(&timeout(OUTER, bucket.get(key())).await.unwrap()));
        }
        if let Some(_server) = Server::start(&folder) {
            bucket.set(key(), b"there".to_vec()).await.unwrap();
        }
    });
}

#[test]
fn a_server_that_restarts_is_used_again_without_anything_being_done() {
    let folder = tempdir().unwrap();
    let Some(server) = Server::start(&folder) else {
        return;
    };
    runtime().block_on(async {
        let bucket = one(&Stores::default(), &server.store(), ROOM);
        bucket.set(key(), b"1".to_vec()).await.unwrap();
        drop(server);
        assert!(is_unavailable(&bucket.get(key()).await));
        let _server = Server::start(&folder).unwrap();
        works_again(&bucket).await;
    });
}

#[test]
fn a_server_that_hangs_is_an_error_at_the_deadline_and_used_again_when_it_goes_on() {
    let folder = tempdir().unwrap();
    let Some(server) = Server::start(&folder) else {
        return;
    };
    runtime().block_on(async {
        let bucket = one(&Stores::default(), &server.store(), ROOM);
        bucket.set(key(), b"1".to_vec()).await.unwrap();
        server.signal(rustix::process::Signal::STOP);
        let result = timeout(OUTER, bucket.get(key())).await.unwrap();
        let why = "no answer within 2 s".to_owned();
        assert_eq!(result, Err(StoreError::Unavailable(why)));
        server.signal(rustix::process::Signal::CONT);
        works_again(&bucket).await;
    });
}

#[test]
fn a_bucket_is_one_hash_that_an_operator_finds_by_its_name() {
    let folder = tempdir().unwrap();
    let Some(server) = Server::start(&folder) else {
        return;
    };
    runtime().block_on(async {
        let bucket = one(&Stores::default(), &server.store(), ROOM);
        bucket.set(key(), b"seen".to_vec()).await.unwrap();
        let client = redis::Client::open(server.url()).unwrap();
        let mut other = client.get_multiplexed_async_connection().await.unwrap();
        let seen: String = redis::cmd("HGET")
            .arg("host:own:app:data")
            .arg("k")
            .query_async(&mut other)
            .await
            .unwrap();
        assert_eq!(seen, "seen");
        // What is no text is no key that a guest could name.
        let odd = redis::cmd("HSET").arg("host:own:app:data").arg(b"\xff").arg("x").clone();
        odd.exec_async(&mut other).await.unwrap();
        assert_eq!(bucket.list_keys(None).await.unwrap().keys, [key()]);
        // Somebody else's data under the bucket's name is an error, not a panic.
        let other_kind = redis::cmd("SET").arg("host:own:app:data").arg("x").clone();
        other_kind.exec_async(&mut other).await.unwrap();
        assert!(is_unavailable(&bucket.get(key()).await));
        assert!(is_unavailable(&bucket.increment(key(), 1).await));
        assert!(is_unavailable(&bucket.list_keys(None).await));
    });
}

#[test]
fn a_password_is_needed_and_never_told() {
    let folder = tempdir().unwrap();
    let Some(server) = Server::start_with(&folder, &["--requirepass", "secret"]) else {
        return;
    };
    runtime().block_on(async {
        let store =
            |password: &str| StoreConfig::Redis(format!("{}?pass={password}", server.url()));
        let refused = one(&Stores::default(), &store("sesame"), ROOM).get(key()).await.unwrap_err();
        assert!(!refused.to_string().contains("sesame"), "{refused}");
        let bucket = one(&Stores::default(), &store("secret"), ROOM);
        bucket.set(key(), Vec::new()).await.unwrap();
        let shown = format!("{bucket:?}");
        assert!(!shown.contains("secret"), "{shown}");
    });
}

/// What docs/keyvalue.md asks of an operator.
const ACL: [&str; 8] =
    ["app", "on", ">secret", "~host:*", "+@hash", "+@scripting", "+hello", "+client"];

#[test]
fn a_user_with_the_rights_that_the_docs_name_can_do_everything() {
    let folder = tempdir().unwrap();
    let acl = folder.path().join("users.acl");
    std::fs::write(&acl, format!("user default off\nuser {}\n", ACL.join(" "))).unwrap();
    let Some(server) = Server::start_with(&folder, &["--aclfile", acl.to_str().unwrap()]) else {
        return;
    };
    runtime().block_on(async {
        let store = StoreConfig::Redis(format!("{}?user=app&pass=secret", server.url()));
        let bucket = one(&Stores::default(), &store, ROOM);
        bucket.set(key(), b"1".to_vec()).await.unwrap();
        assert_eq!(bucket.increment(key(), 1).await, Ok(2));
        assert_eq!(bucket.get_many(vec![key()]).await, Ok(vec![Some(b"2".to_vec())]));
        assert_eq!(bucket.get(key()).await, Ok(Some(b"2".to_vec())));
        assert_eq!(bucket.exists(key()).await, Ok(true));
        assert_eq!(bucket.list_keys(None).await.unwrap().keys, [key()]);
        assert_eq!(swap(&bucket, "k", None, Vec::new()).await, Ok(false));
        bucket.delete(key()).await.unwrap();
    });
}

/// A connection of a test's own, as an operator has one.
async fn connect(server: &Server) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn tell(connection: &mut redis::aio::MultiplexedConnection, words: &[&[u8]]) -> redis::Value {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query_async(connection).await.unwrap()
}

#[test]
fn pairs_that_were_never_counted_are_counted_with_the_first_write() {
    let folder = tempdir().unwrap();
    let Some(server) = Server::start(&folder) else {
        return;
    };
    runtime().block_on(async {
        let mut operator = connect(&server).await;
        tell(&mut operator, &[b"HSET", b"host:own:app:data", b"k", b"v", b"l", b""]).await;
        let limit = pair_size("k", 1) + pair_size("l", 0);
        let bucket = one(&Stores::default(), &server.store(), limit);
        assert_eq!(bucket.set("m".to_owned(), Vec::new()).await, Err(StoreError::Full { limit }));
        bucket.delete("l".to_owned()).await.unwrap();
        bucket.set("m".to_owned(), Vec::new()).await.unwrap();
        assert_eq!(bucket.set("n".to_owned(), Vec::new()).await, Err(StoreError::Full { limit }));
        // A bucket that is emptied by hand has room again; so has one whose pairs are deleted.
        tell(&mut operator, &[b"UNLINK", b"host:own:app:data"]).await;
        bucket.set_many(vec![(key(), b"v".to_vec()), ("l".to_owned(), Vec::new())]).await.unwrap();
        bucket.delete_many(vec![key(), "l".to_owned(), key()]).await.unwrap();
        let left = tell(&mut operator, &[b"EXISTS", b"host:own:app:data"]).await;
        assert_eq!(left, redis::Value::Int(0));
    });
}

/// Two hosts that share a server share what the server has counted.
#[test]
fn the_limit_holds_over_processes_and_buckets() {
    let folder = tempdir().unwrap();
    let Some(server) = Server::start(&folder) else {
        return;
    };
    runtime().block_on(async {
        let limit = pair_size("k", 1_000);
        let spaces = [own("app", "a"), own("app", "b")];
        let [first, second] =
            [(); 2].map(|()| open(&Stores::default(), &server.store(), &spaces, limit));
        let [a, b] = [first.get("0").unwrap(), second.get("1").unwrap()];
        a.set(key(), vec![0; 1_000]).await.unwrap();
        assert_eq!(b.set(key(), Vec::new()).await, Err(StoreError::Full { limit }));
        assert_eq!(b.increment(key(), 1).await, Err(StoreError::Full { limit }));
        assert_eq!(b.exists(key()).await, Ok(false));
        a.delete(key()).await.unwrap();
        assert_eq!(b.increment(key(), 1).await, Ok(1));
    });
}

#[test]
fn a_server_without_memory_lets_a_component_delete() {
    let folder = tempdir().unwrap();
    let Some(server) = Server::start(&folder) else {
        return;
    };
    runtime().block_on(async {
        let bucket = one(&Stores::default(), &server.store(), ROOM);
        bucket.set(key(), vec![0; 1_000]).await.unwrap();
        bucket.set("l".to_owned(), vec![0; 1_000]).await.unwrap();
        let mut operator = connect(&server).await;
        tell(&mut operator, &[b"CONFIG", b"SET", b"maxmemory", b"1"]).await;
        assert!(is_unavailable(&bucket.set("m".to_owned(), Vec::new()).await));
        bucket.delete(key()).await.unwrap();
        assert_eq!(bucket.exists(key()).await, Ok(false));
        tell(&mut operator, &[b"CONFIG", b"SET", b"maxmemory", b"0"]).await;
        let count = tell(&mut operator, &[b"HGET", b"host:own:app:data", b"\xff"]).await;
        let expected = pair_size("l", 1_000).to_string().into_bytes();
        assert_eq!(count, redis::Value::BulkString(expected));
    });
}

/// All components shared one connection, and answers come in the order of the questions: the large
/// ones that one component had asked for, and had left, stood before what its neighbour waited for.
#[test]
fn a_component_that_asks_for_much_keeps_no_other_one_waiting() {
    const ASKING: usize = 60;
    let folder = tempdir().unwrap();
    let Some(server) = Server::start(&folder) else {
        return;
    };
    runtime().block_on(async {
        let stores = Stores::default();
        let greedy = open(&stores, &server.store(), &[own("greedy", "data")], ROOM);
        let greedy = greedy.get("0").unwrap();
        let neighbour = one(&stores, &server.store(), ROOM);
        greedy.set(key(), vec![0; 7_000 << 10]).await.unwrap();
        neighbour.set(key(), vec![1; 1_024]).await.unwrap();
        let asking: Vec<_> = (0..ASKING)
            .map(|_| {
                let greedy = greedy.clone();
                tokio::spawn(async move { while !is_unavailable(&greedy.get(key()).await) {} })
            })
            .collect();
        for _ in 0..20 {
            assert_eq!(neighbour.get(key()).await, Ok(Some(vec![1; 1_024])));
        }
        for task in asking {
            task.abort();
        }
    });
}

#[test]
fn the_tests_know_whether_there_is_a_server() {
    let there = Command::new("redis-server").arg("--version").output().is_ok();
    assert_eq!(Server::start(&tempdir().unwrap()).is_some(), there);
}
