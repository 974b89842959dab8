//! Which connections are used again, and what happens when they have gone.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};

use http_body_util::Full;
use tokio::sync::mpsc;

use super::*;

#[tokio::test]
async fn two_requests_share_a_connection() {
    let server = Server::hello().await;
    let client = client_of(&server, ClientLimits::default());
    for _ in 0..2 {
        assert_eq!(text(send(&client, &server.uri("/")).await.unwrap()).await, "hello");
    }
    assert_eq!(server.accepted(), 1);
}

/// One connection after the other, each with one answer; the first is closed when it is asked for, which
/// is told.
fn one_answer_each(listener: &TcpListener, close: &Receiver<()>, closed: &Sender<()>) {
    for number in 0..2 {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).unwrap() > 0);
        stream.write_all(HELLO.as_bytes()).unwrap();
        if number == 0 {
            close.recv_timeout(DEADLINE).unwrap();
            drop(stream);
            closed.send(()).unwrap();
        } else {
            while stream.read(&mut head).is_ok_and(|read| read > 0) {}
        }
    }
}

/// 1. The connection is idle in the pool. 2. The server's FIN arrives in the kernel, while the one
/// thread of the runtime is busy, so that nobody has told tokio. 3. A request begins. Had hyper begun
/// it on that connection, it could not be sent again.
#[tokio::test]
async fn a_request_after_the_server_closed_goes_over_a_new_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let (close, is_asked) = channel();
    let (closed, is_closed) = channel();
    let server = std::thread::spawn(move || one_answer_each(&listener, &is_asked, &closed));
    let origins = [uri.trim_end_matches('/').to_owned()];
    let client = client_with(&origins, NOTHING, ClientLimits::default(), &Names::default());
    assert_eq!(text(send(&client, &uri).await.unwrap()).await, "hello");
    // Lets the tasks of the connection run until it is idle; nobody tells when that is.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    close.send(()).unwrap();
    // Blocks the runtime: that is the point.
    is_closed.recv_timeout(DEADLINE).unwrap();
    let request = Request::post(&uri).body(Full::from("once")).unwrap();
    let response = soon(client.send(request, Timeouts::default())).await.unwrap();
    assert_eq!(text(response).await, "hello");
    drop(client);
    tokio::task::spawn_blocking(|| server.join().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_repeated() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let heard = heard.clone();
        async move {
            peer.head().await;
            peer.say(HELLO).await;
            // The second one is read and not answered.
            if let Some(head) = peer.head().await {
                heard.send(head).unwrap();
            }
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    assert_eq!(text(send(&client, &server.uri("/")).await.unwrap()).await, "hello");
    // A safe one would be sent again: see `retry.rs`.
    let second = Request::post(server.uri("/second")).body(Empty::<Bytes>::new()).unwrap();
    let broken = soon(client.send(second, Timeouts::default())).await;
    assert!(matches!(broken, Err(SendError::Incomplete(_))), "{broken:?}");
    assert!(soon(hears.recv()).await.unwrap().starts_with("POST /second"));
    assert!(hears.try_recv().is_err());
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn dropping_the_last_client_closes_idle_connections() {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let ended = ended.clone();
        async move {
            peer.head().await;
            peer.say(HELLO).await;
            peer.closed().await;
            ended.send(()).unwrap();
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    let other = client.clone();
    assert_eq!(text(send(&client, &server.uri("/")).await.unwrap()).await, "hello");
    drop(client);
    assert!(ends.try_recv().is_err());
    drop(other);
    soon(ends.recv()).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_after_a_while() {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let ended = ended.clone();
        async move {
            peer.head().await;
            peer.say(HELLO).await;
            peer.closed().await;
            ended.send(()).unwrap();
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    assert_eq!(text(send(&client, &server.uri("/")).await.unwrap()).await, "hello");
    tokio::time::pause();
    timeout(Duration::from_secs(3600), ends.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn idle_connections_to_many_hosts_are_bounded() {
    let server = Server::hello().await;
    let port = server.address.port();
    let names = Names::saying([vec![server.address]]);
    let limits =
        ClientLimits { requests: 1, connections: 100, idle_total: 3, ..ClientLimits::default() };
    let client = client_with(&[format!("*.many.test:{port}")], LOOPBACK, limits, &names);
    for number in 0..40 {
        let uri = format!("http://h{number}.many.test:{port}/");
        assert_eq!(text(send(&client, &uri).await.unwrap()).await, "hello");
    }
    assert!(client.open_connections() <= 6, "{}", client.open_connections());
}

#[tokio::test]
async fn a_response_that_is_dropped_halfway_closes_its_connection() {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let ended = ended.clone();
        async move {
            peer.head().await;
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome").await;
            peer.closed().await;
            ended.send(()).unwrap();
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    drop(send(&client, &server.uri("/")).await.unwrap());
    soon(ends.recv()).await.unwrap();
    drop(client);
}

#[tokio::test]
async fn a_request_that_is_given_up_closes_its_connection() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let heard = heard.clone();
        async move {
            peer.head().await;
            heard.send("head").unwrap();
            peer.closed().await;
            heard.send("end").unwrap();
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    let (other, uri) = (client.clone(), server.uri("/"));
    let request = tokio::spawn(async move { other.send(get(&uri), Timeouts::default()).await });
    assert_eq!(soon(hears.recv()).await, Some("head"));
    request.abort();
    assert_eq!(soon(hears.recv()).await, Some("end"));
    drop(client);
}
