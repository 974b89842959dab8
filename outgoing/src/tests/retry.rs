//! Which requests are sent again: the table of `retry.rs`, and its rows over real connections.
//!
//! A server that went away for a restart failed the requests that crossed with its GOAWAY, or with the
//! close of a connection from the pool, though it had not done anything with them.

use http::Method;
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::tls::certificates;
use super::uploads::{fed, piece};
use super::*;
use crate::retry::{AttemptEnd, BodyLeft, MAX_RETRIES, is_allowed};

#[test]
fn only_what_was_not_processed_or_may_be_twice_is_sent_again() {
    use AttemptEnd::{Other, Refused, Silent};
    use BodyLeft::{Gone, Replayable, Untouched};
    for (methods, end, left, again) in [
        (&["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "X-OWN"][..], Refused, Untouched, true),
        (&["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "X-OWN"], Refused, Replayable, true),
        (&["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "X-OWN"], Refused, Gone, false),
        (&["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"], Silent, Untouched, true),
        (&["POST", "PATCH", "X-OWN"], Silent, Untouched, false),
        (&["GET", "HEAD", "OPTIONS"], Silent, Replayable, true),
        (&["PUT", "DELETE", "POST", "PATCH", "X-OWN"], Silent, Replayable, false),
        (&["GET", "HEAD", "PUT", "POST"], Silent, Gone, false),
        (&["GET", "HEAD", "PUT", "POST"], Other, Untouched, false),
    ] {
        for method in methods {
            let name = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(is_allowed(&name, end, left), again, "{method} {end:?} {left:?}");
        }
    }
}

type AnyBody = UnsyncBoxBody<Bytes, io::Error>;

/// The body of the request that is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    None,
    /// More than is kept.
    Long,
    Short,
    /// Nothing of it has come yet; `hello` once the request is sent again.
    Awaited,
}

fn body(kind: Kind) -> AnyBody {
    let whole = match kind {
        Kind::None => Full::default(),
        Kind::Short | Kind::Awaited => Full::from("hello"),
        Kind::Long => Full::from(vec![b'x'; 100_000]),
    };
    whole.map_err(|never| match never {}).boxed_unsync()
}

/// A server whose first connection answers one request, and closes at the second one, after `last_words`.
/// All others answer. Tells where each head came.
async fn closing(last_words: &'static str) -> (Server, mpsc::UnboundedReceiver<(usize, String)>) {
    let (heard, hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, number| {
        let heard = heard.clone();
        async move {
            let mut answered = 0;
            while let Some(head) = peer.head().await {
                heard.send((number, head.lines().next().unwrap().to_owned())).unwrap();
                if number == 0 && answered == 1 {
                    return peer.say(last_words).await;
                }
                if head.contains("content-length: 5\r\n") {
                    let mut body = [0; 5];
                    peer.0.read_exact(&mut body).await.unwrap();
                    assert_eq!(&body, b"hello");
                }
                peer.say(if head.starts_with("HEAD") { BARE } else { HELLO }).await;
                answered += 1;
            }
        }
    })
    .await;
    (server, hears)
}

const BARE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";

/// How often a request goes out that the second use of a connection swallows.
async fn swallowed(method: &str, kind: Kind, last_words: &'static str) -> (bool, usize) {
    let (server, mut hears) = closing(last_words).await;
    let client = client_of(&server, ClientLimits::default());
    assert_eq!(text(send(&client, &server.uri("/")).await.unwrap()).await, "hello");
    soon(hears.recv()).await.unwrap();
    let request = Request::builder().method(method).uri(server.uri("/"));
    let sending = client.clone();
    let sent = if kind == Kind::Awaited {
        let (feed, awaited) = fed();
        let request = request.header("content-length", "5").body(awaited).unwrap();
        let sent = tokio::spawn(async move { sending.send(request, Timeouts::default()).await });
        soon(hears.recv()).await.unwrap();
        let again = hears.recv();
        tokio::pin!(again);
        // Either it comes again, and gets its body there, or it ends.
        let mut sent = sent;
        let ended = tokio::select! {
            ended = &mut sent => ended.unwrap(),
            heard = &mut again => {
                assert_eq!(heard.unwrap().0, 1);
                feed.send(piece("hello")).unwrap();
                drop(feed);
                return (soon(sent).await.unwrap().is_ok(), 2);
            }
        };
        return (ended.is_ok(), 1);
    } else {
        soon(client.send(request.body(body(kind)).unwrap(), Timeouts::default())).await
    };
    let mut times = 0;
    while hears.try_recv().is_ok() {
        times += 1;
    }
    (sent.is_ok(), times)
}

#[tokio::test]
async fn a_connection_of_the_pool_that_swallows_a_request_is_made_up_for_where_it_may_be() {
    for (method, kind, again) in [
        ("GET", Kind::None, true),
        ("HEAD", Kind::None, true),
        ("OPTIONS", Kind::None, true),
        ("PUT", Kind::None, true),
        ("DELETE", Kind::None, true),
        ("POST", Kind::None, false),
        ("PATCH", Kind::None, false),
        ("GET", Kind::Short, true),
        ("PUT", Kind::Short, false),
        ("POST", Kind::Short, false),
        ("GET", Kind::Long, false),
        ("PUT", Kind::Awaited, true),
        ("DELETE", Kind::Awaited, true),
        ("POST", Kind::Awaited, false),
    ] {
        let went = swallowed(method, kind, "").await;
        assert_eq!(went, (again, 1 + usize::from(again)), "{method} {kind:?}");
    }
}

#[tokio::test]
async fn a_byte_of_a_response_says_that_the_request_was_processed() {
    for last_words in ["H", "HTTP/1.1 200 OK\r\ncontent-le"] {
        assert_eq!(swallowed("GET", Kind::None, last_words).await, (false, 1), "{last_words}");
    }
}

#[tokio::test]
async fn a_new_connection_that_swallows_a_request_is_believed() {
    let server = Server::start(|mut peer, _| async move { drop(peer.head().await) }).await;
    let client = client_of(&server, ClientLimits::default());
    let broken = send(&client, &server.uri("/")).await;
    assert!(matches!(broken, Err(SendError::Incomplete(_))), "{broken:?}");
    assert_eq!(server.accepted(), 1);
}

/// A request is lost with a connection that had answered before. The next attempt has the time that is left
/// of the first one's, and no more.
#[tokio::test]
async fn attempts_share_one_deadline() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, number| {
        let heard = heard.clone();
        async move {
            while let Some(head) = peer.head().await {
                heard.send(number).unwrap();
                if head.starts_with("GET /first") {
                    peer.say(HELLO).await;
                } else if number == 0 {
                    // Of the 30 s that a head may take.
                    tokio::time::sleep(Duration::from_secs(20)).await;
                    return;
                } else {
                    return peer.closed().await;
                }
            }
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    assert_eq!(text(send(&client, &server.uri("/first")).await.unwrap()).await, "hello");
    assert_eq!(soon(hears.recv()).await, Some(0));
    let uri = server.uri("/second");
    let sent = tokio::spawn(async move { client.send(get(&uri), Timeouts::default()).await });
    assert_eq!(soon(hears.recv()).await, Some(0));
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(19)).await;
    // Over sockets the clock must not run ahead.
    tokio::time::sleep(Duration::from_secs(1)).await;
    tokio::time::resume();
    assert_eq!(soon(hears.recv()).await, Some(1));
    tokio::time::pause();
    let late = sent.await.unwrap();
    assert!(matches!(late, Err(SendError::HeadTimeout)), "{late:?}");
    assert!((29..=31).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

/// What a server of HTTP/2 does with a stream.
#[derive(Clone, Copy, Debug)]
enum Act {
    Answer,
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with this last stream, and the end of the connection.
    GoAway(u32),
    /// The end of the connection.
    Close,
}

const REFUSED_STREAM: u32 = 7;
const INTERNAL_ERROR: u32 = 2;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Reads frames until one of HEADERS, and gives its stream.
async fn next_stream(stream: &mut TlsStream<TcpStream>) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        if head[3] == HEADERS {
            return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        }
    }
}

/// A server that does this with one stream after the other, whatever their connections, then answers.
async fn acting(acts: &[Act]) -> (HttpClient, String, mpsc::UnboundedReceiver<usize>) {
    let (heard, hears) = mpsc::unbounded_channel();
    let (root, config) = certificates();
    let mut config = ServerConfig::clone(&config);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let acts = Arc::new(Mutex::new(acts.iter().copied().collect::<VecDeque<_>>()));
    let server = Server::start(move |peer, number| {
        let (acceptor, acts, heard) = (acceptor.clone(), acts.clone(), heard.clone());
        async move {
            let mut stream = acceptor.accept(peer.0.into_inner()).await.unwrap();
            stream.read_exact(&mut [0; 24]).await.unwrap();
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            while let Some(id) = next_stream(&mut stream).await {
                heard.send(number).unwrap();
                let act = acts.lock().unwrap().pop_front().unwrap_or(Act::Answer);
                let (answer, closes) = match act {
                    // `:status: 200`, in the table of HPACK.
                    Act::Answer => (frame(HEADERS, 5, id, &[0x88]), false),
                    Act::Reset(code) => (frame(RST_STREAM, 0, id, &code.to_be_bytes()), false),
                    Act::GoAway(last) => {
                        let payload = [last.to_be_bytes(), [0; 4]].concat();
                        (frame(GOAWAY, 0, 0, &payload), true)
                    }
                    Act::Close => (Vec::new(), true),
                };
                drop(stream.write_all(&answer).await);
                drop(stream.flush().await);
                if closes {
                    drop(stream.shutdown().await);
                    return;
                }
            }
        }
    })
    .await;
    let origin = format!("https://secure.test:{}", server.address.port());
    let names = Names::saying([vec![server.address]]);
    let grants = (vec![origin.parse().unwrap()], LOOPBACK);
    let client =
        HttpClient::with_parts(grants, ClientLimits::default(), names, Trust::only(vec![root]));
    (client, origin, hears)
}

#[tokio::test]
async fn streams_that_a_server_says_it_did_not_process_are_sent_again() {
    const REFUSE: Act = Act::Reset(REFUSED_STREAM);
    for (method, kind, acts, answered, times) in [
        ("POST", Kind::Short, &[Act::GoAway(0)][..], true, 2),
        ("POST", Kind::None, &[Act::GoAway(0)], true, 2),
        ("GET", Kind::None, &[Act::GoAway(0), Act::GoAway(0)], true, 3),
        ("POST", Kind::Short, &[REFUSE], true, 2),
        ("POST", Kind::Short, &[REFUSE, Act::GoAway(0)], true, 3),
        ("POST", Kind::Short, &[REFUSE; 9], false, 1 + MAX_RETRIES),
        ("POST", Kind::Short, &[Act::GoAway(0); 9], false, 1 + MAX_RETRIES),
        ("POST", Kind::Long, &[REFUSE], false, 1),
        // It may have processed these.
        ("POST", Kind::Short, &[Act::GoAway(1)], false, 1),
        ("GET", Kind::None, &[Act::GoAway(1)], false, 1),
        ("GET", Kind::None, &[Act::Reset(INTERNAL_ERROR)], false, 1),
        ("POST", Kind::Short, &[Act::Close], false, 1),
        ("GET", Kind::None, &[Act::Close], false, 1),
        // The connection had answered before.
        ("GET", Kind::None, &[Act::Answer, Act::Close], true, 2),
        ("PUT", Kind::None, &[Act::Answer, Act::Close], true, 2),
        ("POST", Kind::None, &[Act::Answer, Act::Close], false, 1),
    ] {
        let case = format!("{method} {kind:?} {acts:?}");
        let (client, origin, mut hears) = acting(acts).await;
        if let [Act::Answer, ..] = acts {
            assert_eq!(send(&client, &origin).await.unwrap().status(), 200);
            soon(hears.recv()).await.unwrap();
        }
        let request = Request::builder().method(method).uri(&origin).body(body(kind)).unwrap();
        let sent = soon(client.send(request, Timeouts::default())).await;
        assert_eq!(sent.is_ok(), answered, "{case}: {sent:?}");
        let mut heard = 0;
        while hears.try_recv().is_ok() {
            heard += 1;
        }
        assert_eq!(heard, times, "{case}");
    }
}
