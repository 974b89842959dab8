//! Every deadline of an operator's connection, on the paused clock.

use http::StatusCode;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::control::deadlines::{IDLE, REQUEST_IN, STALLED};
use crate::control::reply;

/// Answers `path` to everything; `/big` with more than a peer's buffer takes.
fn connect(buffer: usize) -> (DuplexStream, JoinHandle<()>) {
    let (peer, ours) = duplex(buffer);
    let served = serve(ours, Deadlines::start(), |request: Request<Incoming>| async move {
        match request.uri().path() {
            "/big" => reply::text(StatusCode::OK, "x".repeat(100_000)),
            path => reply::text(StatusCode::OK, path.to_owned()),
        }
    });
    (peer, tokio::spawn(served))
}

/// Reads up to the end of an answer whose body is `text`.
async fn answer(peer: &mut DuplexStream, text: &str) -> String {
    let mut read = Vec::new();
    let end = format!("\r\n\r\n{text}");
    while !read.ends_with(end.as_bytes()) {
        let byte = peer.read_u8().await.expect("an answer");
        read.push(byte);
    }
    String::from_utf8(read).unwrap()
}

async fn closed_after(mut peer: DuplexStream, began: Instant) -> Duration {
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_nothing_is_dropped() {
    let began = Instant::now();
    let (peer, served) = connect(1024);
    assert_eq!(closed_after(peer, began).await, REQUEST_IN);
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_dropped_however_slowly_it_comes() {
    let began = Instant::now();
    let (mut peer, served) = connect(1024);
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\n" {
        if peer.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    served.await.unwrap();
    assert!(began.elapsed() < REQUEST_IN + Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(peer.read(&mut [0; 9]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_for_more_requests_and_closed_when_it_is_idle() {
    let (mut peer, served) = connect(1024);
    for path in ["/a", "/b"] {
        peer.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        assert!(answer(&mut peer, path).await.starts_with("HTTP/1.1 200 OK\r\n"));
        tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
    }
    let left = closed_after(peer, Instant::now()).await;
    assert!(left <= Duration::from_secs(1), "{left:?}");
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn half_of_a_later_head_has_the_time_of_a_head_and_not_that_of_an_idle_connection() {
    let (mut peer, served) = connect(1024);
    peer.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answer(&mut peer, "/a").await;
    peer.write_all(b"GET").await.unwrap();
    assert_eq!(closed_after(peer, Instant::now()).await, REQUEST_IN);
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_its_answer_is_dropped() {
    let began = Instant::now();
    let (mut peer, served) = connect(64);
    peer.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    served.await.unwrap();
    assert_eq!(began.elapsed(), STALLED);
}
