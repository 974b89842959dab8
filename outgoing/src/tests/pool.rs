//! Which connections are used again, and what happens when they have gone.

use http_body_util::Full;
use tokio::sync::{mpsc, oneshot};

use super::*;

#[tokio::test]
async fn two_requests_share_a_connection() {
    let server = Server::hello().await;
    let client = client_of(&server, Limits::default());
    for _ in 0..2 {
        assert_eq!(text(send(&client, &server.uri("/")).await.unwrap()).await, "hello");
    }
    assert_eq!(server.accepted(), 1);
}

/// The server's FIN is in the kernel, but nobody has told the runtime: hyper must not begin the
/// request on that connection, because then it could not be sent again.
#[tokio::test]
async fn a_request_after_the_server_closed_goes_over_a_new_connection() {
    for _ in 0..50 {
        let (closed, is_closed) = oneshot::channel();
        let closed = Mutex::new(Some(closed));
        let server = Server::start(move |mut peer, number| {
            let closed = closed.lock().unwrap().take();
            async move {
                peer.head().await;
                peer.say(HELLO).await;
                if number == 0 {
                    drop(peer);
                    closed.unwrap().send(()).unwrap();
                } else {
                    peer.closed().await;
                }
            }
        })
        .await;
        let client = client_of(&server, Limits::default());
        assert_eq!(text(send(&client, &server.uri("/")).await.unwrap()).await, "hello");
        soon(is_closed).await.unwrap();
        let request = Request::post(server.uri("/")).body(Full::from("once")).unwrap();
        let response = soon(client.send(request, Timeouts::default())).await.unwrap();
        assert_eq!(text(response).await, "hello");
        assert_eq!(server.accepted(), 2);
    }
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
    let client = client_of(&server, Limits::default());
    assert_eq!(text(send(&client, &server.uri("/")).await.unwrap()).await, "hello");
    let broken = send(&client, &server.uri("/second")).await;
    assert!(matches!(broken, Err(SendError::Incomplete(_))), "{broken:?}");
    assert!(soon(hears.recv()).await.unwrap().starts_with("GET /second"));
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
    let client = client_of(&server, Limits::default());
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
    let client = client_of(&server, Limits::default());
    assert_eq!(text(send(&client, &server.uri("/")).await.unwrap()).await, "hello");
    tokio::time::pause();
    timeout(Duration::from_secs(3600), ends.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn idle_connections_to_many_hosts_are_bounded() {
    let server = Server::hello().await;
    let port = server.address.port();
    let names = Names::saying([vec![server.address]]);
    let limits = Limits { requests: 1, connections: 100, idle_total: 3, ..Limits::default() };
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
    let client = client_of(&server, Limits::default());
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
    let client = client_of(&server, Limits::default());
    let (other, uri) = (client.clone(), server.uri("/"));
    let request = tokio::spawn(async move { other.send(get(&uri), Timeouts::default()).await });
    assert_eq!(soon(hears.recv()).await, Some("head"));
    request.abort();
    assert_eq!(soon(hears.recv()).await, Some("end"));
    drop(client);
}
