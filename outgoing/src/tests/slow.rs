//! Every wait has an end.

use std::io::{Read as _, Write as _};

use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, pause, resume};

use super::*;

/// A server that answers each request with this much, and then says nothing.
async fn stalling(answer: &'static str) -> (Server, mpsc::UnboundedReceiver<()>) {
    let (heard, hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let heard = heard.clone();
        async move {
            peer.head().await;
            peer.say(answer).await;
            heard.send(()).unwrap();
            peer.closed().await;
        }
    })
    .await;
    (server, hears)
}

async fn time_to_head(timeouts: Timeouts) -> Duration {
    let (server, mut hears) = stalling("").await;
    let client = client_of(&server, ClientLimits::default());
    let request = tokio::spawn(async move { client.send(get(&server.uri("/")), timeouts).await });
    soon(hears.recv()).await.unwrap();
    pause();
    let start = Instant::now();
    let refused = request.await.unwrap();
    assert!(matches!(refused, Err(SendError::HeadTimeout)), "{refused:?}");
    let waited = start.elapsed();
    resume();
    waited
}

#[tokio::test]
async fn a_head_that_does_not_come_has_our_deadline() {
    let waited = time_to_head(Timeouts::default()).await;
    assert!((25..=30).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test]
async fn a_guest_can_shorten_a_wait_and_not_lengthen_it() {
    let short = Timeouts { head: Some(Duration::from_secs(20)), ..Timeouts::default() };
    let waited = time_to_head(short).await;
    assert!((15..=20).contains(&waited.as_secs()), "{waited:?}");
    let long = Timeouts { head: Some(Duration::MAX), ..Timeouts::default() };
    let waited = time_to_head(long).await;
    assert!((25..=30).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test]
async fn a_body_that_stands_still_has_our_deadline() {
    let (server, mut hears) = stalling("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome").await;
    let client = client_of(&server, ClientLimits::default());
    let mut body = send(&client, &server.uri("/")).await.unwrap().into_body();
    soon(hears.recv()).await.unwrap();
    assert_eq!(soon(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "some");
    pause();
    let start = Instant::now();
    // A guest that does not read is not the server's fault.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let read = Instant::now();
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::BodyTimeout), "{error}");
    assert_eq!(read.elapsed().as_secs(), 60);
    assert!(start.elapsed().as_secs() >= 3660);
}

#[tokio::test]
async fn no_connection_has_our_deadline() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // A queue for one, and one is in it: the kernel drops what comes after.
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _first = TcpStream::connect(address).await.unwrap();
    let origins = [format!("http://{address}")];
    let client = client_with(&origins, NOTHING, ClientLimits::default(), &Names::default());
    pause();
    for (asked, seconds) in
        [(None, 10), (Some(Duration::from_secs(3)), 3), (Some(Duration::MAX), 10)]
    {
        let start = Instant::now();
        let timeouts = Timeouts { connect: asked, ..Timeouts::default() };
        let refused = client.send(get(&format!("http://{address}/")), timeouts).await;
        assert!(matches!(refused, Err(SendError::ConnectTimeout)), "{refused:?}");
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
}

/// A resolver that never answers.
pub(super) struct Silent;

impl Resolve for Silent {
    fn resolve(&self, _host: &str, _port: u16) -> Resolved {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_does_not_answer_has_our_deadline() {
    let origins = vec!["http://a.test".parse().unwrap()];
    let trust = Trust::only(Vec::new());
    let client = HttpClient::with_parts((origins, NOTHING), ClientLimits::default(), Silent, trust);
    let start = Instant::now();
    let refused = client.send(get("http://a.test/"), Timeouts::default()).await;
    assert!(matches!(refused, Err(SendError::ConnectTimeout)), "{refused:?}");
    assert_eq!(start.elapsed().as_secs(), 10);
}

/// GHSA-w4qr: tokio's `interval` panics on zero.
#[tokio::test]
async fn no_time_at_all_is_no_panic() {
    let zero = Some(Duration::ZERO);
    for timeouts in [
        Timeouts { connect: zero, head: zero, between_bytes: zero },
        Timeouts { head: zero, ..Timeouts::default() },
    ] {
        let (server, _hears) = stalling("").await;
        let client = client_of(&server, ClientLimits::default());
        let refused = soon(client.send(get(&server.uri("/")), timeouts)).await.unwrap_err();
        let kind = matches!(refused, SendError::ConnectTimeout | SendError::HeadTimeout);
        assert!(kind, "{refused}");
    }
    let (server, _hears) = stalling("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome").await;
    let client = client_of(&server, ClientLimits::default());
    let timeouts = Timeouts { between_bytes: zero, ..Timeouts::default() };
    let response = soon(client.send(get(&server.uri("/")), timeouts)).await.unwrap();
    let error = soon(response.into_body().collect()).await.unwrap_err();
    assert!(matches!(error, SendError::BodyTimeout), "{error}");
}

/// A request waits for its response. The process is stopped (SIGSTOP); the response comes, and the
/// deadline goes by. It goes on, and its timer is over in the very turn in which the reactor tells of the
/// response: it had become a time-out.
#[tokio::test]
async fn a_response_that_came_while_the_process_was_stopped_is_in_time() {
    for begun in ["", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        let (heard, mut hears) = mpsc::unbounded_channel();
        let (stopped, is_stopped) = std::sync::mpsc::channel();
        let (said, is_said) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(begun.as_bytes()).unwrap();
            heard.send(()).unwrap();
            is_stopped.recv_timeout(DEADLINE).unwrap();
            stream.write_all(&HELLO.as_bytes()[begun.len()..]).unwrap();
            said.send(()).unwrap();
            // Until the client has gone.
            drop(stream.read(&mut [0]));
        });
        let origins = [uri.trim_end_matches('/').to_owned()];
        let client = client_with(&origins, NOTHING, ClientLimits::default(), &Names::default());
        let sent = tokio::spawn(async move {
            let response = client.send(get(&uri), Timeouts::default()).await?;
            response.into_body().collect().await
        });
        soon(hears.recv()).await.unwrap();
        // Lets the tasks run until they wait; nobody tells when that is.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        stopped.send(()).unwrap();
        // Blocks the one thread of the runtime, as a stop does: nobody looks at the socket meanwhile.
        is_said.recv_timeout(DEADLINE).unwrap();
        pause();
        tokio::time::advance(Duration::from_secs(90)).await;
        resume();
        let body = soon(sent).await.unwrap().unwrap();
        assert_eq!(body.to_bytes(), "hello");
        tokio::task::spawn_blocking(|| server.join().unwrap()).await.unwrap();
    }
}
