//! A Redis server that refuses connections, for a while or by and by.
//!
//! A server restarts, and a reconnect meets `-LOADING` (or `-NOAUTH`, while an operator changes the
//!    password). That outcome was kept for ever: every operation failed at once while the server was well,
//!    and a reload of the same file changed nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use host_manifest::StoreConfig;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::support::{ROOM, one};
use crate::{StoreError, Stores};

/// Only fails.
const OUTER: Duration = Duration::from_secs(20);

/// A connect has two more attempts, see `connection.rs`.
const ATTEMPTS: usize = 3;

/// What the server says to who connects, and what it has seen.
#[derive(Debug, Default)]
struct State {
    refusal: Mutex<Option<&'static str>>,
    refused: watch::Sender<usize>,
    /// A new value closes all connections.
    cut: watch::Sender<usize>,
}

/// As much of Redis as answers to a bucket with nothing in it.
struct Fake {
    store: StoreConfig,
    state: Arc<State>,
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let store = StoreConfig::Redis(format!("redis://{}", listener.local_addr().unwrap()));
        let state = Arc::new(State::default());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let mut cut = shared.cut.subscribe();
                    tokio::select! {
                        _ = cut.changed() => {}
                        () = talk(BufReader::new(stream), &shared) => {}
                    }
                });
            }
        });
        Self { store, state }
    }

    /// From now on connections are refused with this, or let in.
    fn refuse(&self, refusal: Option<&'static str>) {
        *self.state.refusal.lock().unwrap() = refusal;
    }

    fn cut(&self) {
        self.state.cut.send_modify(|cuts| *cuts += 1);
    }

    async fn has_refused(&self, connections: usize) {
        let mut refused = self.state.refused.subscribe();
        let waited = refused.wait_for(|refused| *refused >= connections);
        drop(timeout(OUTER, waited).await.unwrap().unwrap());
    }
}

async fn talk(mut stream: BufReader<TcpStream>, state: &State) {
    let refusal = *state.refusal.lock().unwrap();
    while let Some(words) = command(&mut stream).await {
        let answer = match (&*words[0].to_ascii_uppercase(), refusal) {
            (_, Some(refusal)) => format!("-{refusal}\r\n"),
            ("HELLO", None) => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
            ("PING", None) => "+PONG\r\n".to_owned(),
            ("HMGET", None) => "*2\r\n_\r\n_\r\n".to_owned(),
            ("EVALSHA", None) => "-WRONGTYPE not a hash\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        };
        if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if words[0].eq_ignore_ascii_case("HELLO") && refusal.is_some() {
            state.refused.send_modify(|refused| *refused += 1);
        }
    }
}

/// An array of strings.
async fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..number(stream, '*').await? {
        let mut word = vec![0; number(stream, '$').await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8_lossy(&word).trim_end().to_owned());
    }
    Some(words)
}

async fn number(stream: &mut BufReader<TcpStream>, sign: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(sign)?.parse().ok()
}

const REFUSALS: [&str; 5] = [
    "LOADING Redis is loading the dataset in memory",
    "NOAUTH HELLO must be called with the client already authenticated",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "MASTERDOWN Link with MASTER is down",
    "ERR max number of clients reached",
];

fn key() -> String {
    "k".to_owned()
}

#[tokio::test]
async fn a_reconnect_that_was_refused_is_tried_again() {
    for refusal in REFUSALS {
        let fake = Fake::start().await;
        let bucket = one(&Stores::default(), &fake.store, ROOM);
        assert_eq!(timeout(OUTER, bucket.get(key())).await.unwrap(), Ok(None));
        // The connection goes while nobody asks, and all attempts at another are refused.
        fake.refuse(Some(refusal));
        fake.cut();
        fake.has_refused(ATTEMPTS).await;
        fake.refuse(None);
        assert_eq!(timeout(OUTER, bucket.get(key())).await.unwrap(), Ok(None), "{refusal}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_told_of_asked_again_and_used_again() {
    for refusal in REFUSALS {
        let fake = Fake::start().await;
        let stores = Stores::default();
        let bucket = one(&stores, &fake.store, ROOM);
        // From the first connection on.
        fake.refuse(Some(refusal));
        for _ in 0..3 {
            let before = *fake.state.refused.borrow();
            let refused = timeout(OUTER, bucket.get(key())).await.unwrap();
            assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refusal}: {refused:?}");
            assert!(*fake.state.refused.borrow() > before, "it is asked for each operation");
            let troubles = stores.troubles();
            assert_eq!(troubles.len(), 1);
            assert!(!troubles[0].why.is_empty() && troubles[0].store.starts_with("redis://"));
        }
        fake.refuse(None);
        assert_eq!(timeout(OUTER, bucket.get(key())).await.unwrap(), Ok(None), "{refusal}");
        assert_eq!(stores.troubles(), []);
    }
}

/// An error of what was asked for is none of the connection.
#[tokio::test]
async fn an_operation_that_fails_does_not_cost_the_connection() {
    let fake = Fake::start().await;
    let bucket = one(&Stores::default(), &fake.store, ROOM);
    for _ in 0..3 {
        let wrong = timeout(OUTER, bucket.exists(key())).await.unwrap();
        assert!(matches!(wrong, Err(StoreError::Unavailable(_))), "{wrong:?}");
    }
    fake.refuse(Some(REFUSALS[0]));
    assert_eq!(timeout(OUTER, bucket.get(key())).await.unwrap(), Ok(None), "still the first one");
}
