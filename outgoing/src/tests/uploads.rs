//! The body of a request on its way out.

use http_body::Frame;
use http_body_util::Full;
use tokio::sync::mpsc;
use tokio::time::{Instant, pause};

use super::*;

pub(super) type Piece = Result<Frame<Bytes>, io::Error>;

/// A body that is fed by the test; it ends when the sender is dropped.
pub(super) struct Fed(mpsc::UnboundedReceiver<Piece>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Piece>> {
        self.0.poll_recv(cx)
    }
}

pub(super) fn fed() -> (mpsc::UnboundedSender<Piece>, Fed) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Fed(receiver))
}

pub(super) fn piece(text: &'static str) -> Piece {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

#[tokio::test]
async fn a_body_is_streamed() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let heard = heard.clone();
        async move {
            heard.send(peer.head().await.unwrap()).unwrap();
            let mut line = String::new();
            while !line.ends_with("0\r\n") {
                line.clear();
                peer.0.read_line(&mut line).await.unwrap();
                heard.send(line.clone()).unwrap();
            }
            peer.say(HELLO).await;
            peer.closed().await;
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    let (feed, body) = fed();
    let request = Request::post(server.uri("/")).body(body).unwrap();
    let sent = tokio::spawn(async move { client.send(request, Timeouts::default()).await });
    assert!(soon(hears.recv()).await.unwrap().contains("transfer-encoding: chunked"));
    // An empty piece would be the end of a chunked body.
    for part in ["first", "", "second"] {
        feed.send(piece(part)).unwrap();
    }
    for line in ["5\r\n", "first\r\n", "6\r\n", "second\r\n"] {
        assert_eq!(soon(hears.recv()).await.unwrap(), line);
    }
    drop(feed);
    assert_eq!(text(soon(sent).await.unwrap().unwrap()).await, "hello");
}

#[tokio::test]
async fn a_body_that_fails_breaks_its_request_and_the_error_is_handed_back() {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let ended = ended.clone();
        async move {
            ended.send(peer.head().await.unwrap()).unwrap();
            let mut rest = String::new();
            drop(peer.0.read_to_string(&mut rest).await);
            ended.send(rest).unwrap();
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    let (feed, body) = fed();
    feed.send(piece("some")).unwrap();
    let request = Request::post(server.uri("/")).body(body).unwrap();
    let sent = tokio::spawn(async move { client.send(request, Timeouts::default()).await });
    soon(ends.recv()).await.unwrap();
    feed.send(Err(io::Error::other("the guest trapped"))).unwrap();
    let broken = soon(sent).await.unwrap().unwrap_err();
    let SendError::RequestBody(inner) = &broken else { panic!("{broken:?}") };
    assert_eq!(inner.downcast_ref::<io::Error>().unwrap().to_string(), "the guest trapped");
    let rest = soon(ends.recv()).await.unwrap();
    assert!(!rest.ends_with("0\r\n\r\n"), "a broken body must not look whole: {rest:?}");
}

#[tokio::test]
async fn a_long_upload_is_not_a_slow_head() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let heard = heard.clone();
        async move {
            peer.head().await;
            heard.send(()).unwrap();
            peer.closed().await;
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    let (feed, body) = fed();
    let request = Request::post(server.uri("/")).body(body).unwrap();
    let sent = tokio::spawn(async move { client.send(request, Timeouts::default()).await });
    soon(hears.recv()).await.unwrap();
    pause();
    let start = Instant::now();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        feed.send(piece("more")).unwrap();
    }
    let refused = sent.await.unwrap();
    assert!(matches!(refused, Err(SendError::HeadTimeout)), "{refused:?}");
    assert_eq!(start.elapsed().as_secs(), 230);
}

/// A server that answers before it has read, and then takes nothing more.
async fn deaf(answer: &'static str) -> (Server, mpsc::UnboundedReceiver<&'static str>) {
    let (heard, hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let heard = heard.clone();
        async move {
            peer.head().await;
            peer.say(answer).await;
            heard.send("answered").unwrap();
            // What it has not read stands before the client's end; only what it writes is refused.
            while peer.0.write_all(b"x").await.is_ok() {
                tokio::task::yield_now().await;
            }
            heard.send("gone").unwrap();
        }
    })
    .await;
    (server, hears)
}

#[tokio::test]
async fn an_upload_that_nobody_takes_ends_with_the_response_that_is_dropped() {
    let (server, mut hears) = deaf("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome").await;
    let client = client_of(&server, ClientLimits { requests: 1, ..ClientLimits::default() });
    let request = Request::post(server.uri("/")).body(Endless).unwrap();
    let response = soon(client.send(request, Timeouts::default())).await.unwrap();
    assert_eq!(soon(hears.recv()).await, Some("answered"));
    drop(response);
    assert_eq!(soon(hears.recv()).await, Some("gone"));
    let again = Request::post(server.uri("/")).body(Full::from("x")).unwrap();
    assert!(soon(client.send(again, Timeouts::default())).await.is_ok(), "it counts no more");
}

/// A server that answers all it has to say, takes nothing more, and does not close either.
async fn answered_early(
    body: impl http_body::Body<Data = Bytes, Error = io::Error> + Send + 'static,
) {
    let (done, is_done) = tokio::sync::oneshot::channel::<()>();
    let is_done = Arc::new(tokio::sync::Mutex::new(is_done));
    let server = Server::start(move |mut peer, _| {
        let is_done = Arc::clone(&is_done);
        async move {
            peer.head().await;
            peer.say(HELLO).await;
            drop((&mut *is_done.lock().await).await);
        }
    })
    .await;
    let client = client_of(&server, ClientLimits { requests: 1, ..ClientLimits::default() });
    let request = Request::post(server.uri("/")).body(body).unwrap();
    let response = soon(client.send(request, Timeouts::default())).await.unwrap();
    assert_eq!(text(response).await, "hello");
    assert!(matches!(send(&client, &server.uri("/")).await, Err(SendError::TooMany { .. })));
    pause();
    let start = Instant::now();
    while client.open_connections() > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(start.elapsed() < Duration::from_secs(600), "still open");
    }
    assert!(start.elapsed() >= Duration::from_secs(55), "{:?}", start.elapsed());
    drop(done);
}

#[tokio::test]
async fn an_upload_that_stands_still_after_its_response_has_an_end() {
    let (feed, body) = fed();
    feed.send(piece("some")).unwrap();
    answered_early(body).await;
    assert!(feed.is_closed());
}

#[tokio::test]
async fn an_upload_that_is_not_taken_after_its_response_has_an_end() {
    answered_early(Endless).await;
}

/// Pieces without end.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Piece>> {
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 65536])))))
    }
}
