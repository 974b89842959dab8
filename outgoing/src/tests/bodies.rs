//! How much of a response is taken.

use super::*;

async fn saying(answer: String) -> Server {
    Server::start(move |mut peer, _| {
        let answer = answer.clone();
        async move {
            peer.head().await;
            peer.say(&answer).await;
            peer.closed().await;
        }
    })
    .await
}

fn at_most(bytes: u64) -> ClientLimits {
    ClientLimits { response_body: Some(bytes), ..ClientLimits::default() }
}

#[tokio::test]
async fn a_body_whose_length_is_above_the_limit_is_refused_at_its_head() {
    let server = saying("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n".into()).await;
    let client = client_of(&server, at_most(10));
    let refused = send(&client, &server.uri("/")).await;
    assert!(matches!(refused, Err(SendError::ResponseTooLarge { limit: 10 })), "{refused:?}");
}

#[tokio::test]
async fn a_body_without_end_is_cut_at_the_limit() {
    let server = Server::start(|mut peer, _| async move {
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while peer.0.write_all(b"4\r\nmore\r\n").await.is_ok() && peer.0.flush().await.is_ok() {}
    })
    .await;
    let client = client_of(&server, at_most(100_000));
    let mut body = send(&client, &server.uri("/")).await.unwrap().into_body();
    let mut taken = 0;
    let error = loop {
        match soon(body.frame()).await.expect("no end") {
            Ok(frame) => taken += frame.into_data().unwrap().len(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SendError::ResponseTooLarge { limit: 100_000 }), "{error}");
    assert!(taken <= 100_000, "{taken}");
    assert!(soon(body.frame()).await.is_none(), "nothing after a failure");
}

/// What is cut gives its connection back, also to a client that has only one.
#[tokio::test]
async fn a_body_that_is_cut_makes_room_for_the_next_request() {
    let server = Server::start(|mut peer, number| async move {
        peer.head().await;
        if number > 0 {
            peer.say(HELLO).await;
            return peer.closed().await;
        }
        peer.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while peer.0.write_all(b"4\r\nmore\r\n").await.is_ok() && peer.0.flush().await.is_ok() {}
    })
    .await;
    let client = client_of(&server, ClientLimits { connections: 1, ..at_most(1000) });
    let endless = send(&client, &server.uri("/")).await.unwrap();
    let error = soon(endless.into_body().collect()).await.unwrap_err();
    assert!(matches!(error, SendError::ResponseTooLarge { .. }), "{error}");
    assert_eq!(text(send(&client, &server.uri("/")).await.unwrap()).await, "hello");
    assert_eq!((server.accepted(), client.open_connections()), (2, 1));
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_whole() {
    let server = saying("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789".into()).await;
    let client = client_of(&server, at_most(10));
    assert_eq!(text(send(&client, &server.uri("/")).await.unwrap()).await, "0123456789");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    for head in ["content-length: 100", "transfer-encoding: chunked"] {
        let server = Server::start(move |mut peer, _| async move {
            peer.head().await;
            peer.say(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n4\r\nsome\r\n")).await;
        })
        .await;
        let client = client_of(&server, ClientLimits::default());
        let response = send(&client, &server.uri("/")).await.unwrap();
        let broken = soon(response.into_body().collect()).await;
        assert!(matches!(broken, Err(SendError::Incomplete(_))), "{head}: {broken:?}");
    }
}

#[tokio::test]
async fn a_request_counts_until_its_response_is_read_or_dropped() {
    let server = Server::hello().await;
    let client = client_of(&server, ClientLimits { requests: 1, ..ClientLimits::default() });
    let uri = server.uri("/");
    let response = send(&client, &uri).await.unwrap();
    assert!(matches!(send(&client, &uri).await, Err(SendError::TooMany { .. })));
    assert_eq!(text(response).await, "hello");
    drop(send(&client, &uri).await.unwrap());
    assert_eq!(text(send(&client, &uri).await.unwrap()).await, "hello");
}

#[tokio::test]
async fn trailers_are_handed_on() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                  2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n";
    let server = saying(answer.into()).await;
    let client = client_of(&server, ClientLimits::default());
    let whole = send(&client, &server.uri("/")).await.unwrap().into_body();
    let whole = soon(whole.collect()).await.unwrap();
    assert_eq!(whole.trailers().unwrap()["x-sum"], "7");
    assert_eq!(whole.to_bytes(), "hi");
}

#[tokio::test]
async fn huge_trailers_end_at_a_limit() {
    let server = Server::start(|mut peer, _| async move {
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n").await;
        while peer.0.write_all(b"x-filler: 01234567890123456789\r\n").await.is_ok() {}
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    let body = send(&client, &server.uri("/")).await.unwrap().into_body();
    assert!(soon(body.collect()).await.is_err());
}
