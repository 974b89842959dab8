//! A guest that sends without end holds no more than its limit. Alone in its process, because it
//! counts the descriptors of the process.

#![cfg(test)]

use std::time::Duration;

use bytes::Bytes;
use host_manifest::outgoing::Reach;
use host_outgoing::{ClientLimits, HttpClient, SendError, Timeouts};
use http::Request;
use http_body_util::Empty;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Requests of the guest that never get an answer.
const REQUESTS: usize = 2_000;

/// How many are allowed at once.
const ALLOWED: usize = 16;

/// Beyond one for each request, and one for the server's end of it: what the runtime opens meanwhile.
const SPARE: usize = 8;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a /proc").count()
}

#[tokio::test]
async fn thousands_of_requests_hold_no_more_descriptors_than_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(connection) = listener.accept().await {
            held.push(connection);
        }
    });
    let reach = Reach::default();
    let origins = vec![format!("http://{address}").parse().unwrap()];
    let client = HttpClient::new(
        origins,
        reach,
        ClientLimits { requests: ALLOWED, ..ClientLimits::default() },
    );
    let before = descriptors();
    let mut waiting = JoinSet::new();
    for _ in 0..REQUESTS {
        let client = client.clone();
        let request =
            Request::get(format!("http://{address}/")).body(Empty::<Bytes>::new()).unwrap();
        waiting.spawn(async move { client.send(request, Timeouts::default()).await.map(drop) });
    }
    let mut refused = 0;
    let most = tokio::time::timeout(Duration::from_secs(30), async {
        while refused < REQUESTS - ALLOWED {
            let answer = waiting.join_next().await.unwrap().unwrap();
            assert!(matches!(answer, Err(SendError::TooMany { .. })), "{answer:?}");
            refused += 1;
        }
        descriptors()
    })
    .await
    .expect("refused at once");
    assert!(most <= before + 2 * ALLOWED + SPARE, "{before} before, {most} then");
    assert!(client.open_connections() <= ALLOWED);
    waiting.abort_all();
    while waiting.join_next().await.is_some() {}
}
