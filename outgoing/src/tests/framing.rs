//! What a guest has written is on the wire, or the guest is told: each method with each kind of body, with
//! a length of the guest's and without, byte by byte over HTTP/1, and as HTTP/2 has it.
//!
//! hyper left out the body of a GET or HEAD that said no length, and its guest was told of a success;
//! POST, PUT and PATCH without a body had no `content-length: 0`, which servers answer by 411.

use std::convert::Infallible;

use http::header::{CONTENT_LENGTH, HeaderValue};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::tls::certificates;
use super::uploads::{Fed, Piece, fed, piece};
use super::*;
use crate::replay::FIRST_PIECE;

const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"];

/// What a guest does with the body of its request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Body {
    /// It takes none.
    None,
    /// It has taken one and ended it, without a byte.
    Empty,
    /// It ends it, without a byte, once the request is handed over.
    EndedLater,
    /// `hello`, and the end, before it hands the request over.
    Short,
    /// `hello` once the request is handed over, the rest and the end once a server has that.
    Streamed,
}

const BODIES: [Body; 5] = [Body::None, Body::Empty, Body::EndedLater, Body::Short, Body::Streamed];

impl Body {
    fn text(self) -> &'static str {
        match self {
            Self::None | Self::Empty | Self::EndedLater => "",
            Self::Short => "hello",
            Self::Streamed => "hello, world",
        }
    }
}

/// What a server must have seen: the fields of framing, and the body as bytes of the wire.
fn expected(method: &str, body: Body, length: Option<usize>) -> (Vec<String>, &'static str) {
    let wants_content = ["POST", "PUT", "PATCH"].contains(&method);
    match (length, body) {
        (Some(length), _) => (vec![format!("content-length: {length}")], body.text()),
        (None, Body::Short) => (vec!["content-length: 5".into()], "hello"),
        (None, Body::Streamed) => {
            let chunks = "5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n";
            (vec!["transfer-encoding: chunked".into()], chunks)
        }
        (None, _) if wants_content => (vec!["content-length: 0".into()], ""),
        (None, _) => (Vec::new(), ""),
    }
}

type AnyBody = UnsyncBoxBody<Bytes, io::Error>;

/// A body, and what it is fed with.
fn body(kind: Body) -> (Option<mpsc::UnboundedSender<Piece>>, AnyBody) {
    let (feed, body) = fed();
    let feed = match kind {
        Body::None => return (None, Empty::new().map_err(|never| match never {}).boxed_unsync()),
        Body::Empty => None,
        Body::Short => {
            feed.send(piece("hello")).unwrap();
            None
        }
        Body::EndedLater | Body::Streamed => Some(feed),
    };
    (feed, Fed::boxed_unsync(body))
}

fn request(uri: &str, method: &str, body: AnyBody, length: Option<usize>) -> Request<AnyBody> {
    let mut request = Request::builder().method(method).uri(uri).body(body).unwrap();
    if let Some(length) = length {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    request
}

/// Sends it, does what the guest does, and waits for `hello` to come back.
async fn exchange(
    client: &HttpClient,
    (uri, method): (&str, &str),
    kind: Body,
    length: Option<usize>,
    server_has: &mut mpsc::UnboundedReceiver<()>,
) -> Result<(), SendError> {
    let (feed, body) = body(kind);
    let request = request(uri, method, body, length);
    // No time passes before the guest has done its part: the look at the body is not a race.
    tokio::time::pause();
    let sending = client.clone();
    let sent = tokio::spawn(async move { sending.send(request, Timeouts::default()).await });
    tokio::task::yield_now().await;
    if kind == Body::Streamed {
        feed.as_ref().unwrap().send(piece("hello")).unwrap();
        tokio::time::resume();
        soon(server_has.recv()).await.unwrap();
        // Of a body that has its length already, nobody takes more.
        drop(feed.as_ref().unwrap().send(piece(", world")));
    }
    drop(feed);
    if kind != Body::Streamed {
        tokio::task::yield_now().await;
        tokio::time::resume();
    }
    let response = soon(sent).await.unwrap()?;
    let expected = if method == "HEAD" { "" } else { "hello" };
    assert_eq!(text(response).await, expected);
    Ok(())
}

/// A server that tells what it saw of each request, and when it has the first `hello` of a body.
async fn recording()
-> (Server, mpsc::UnboundedReceiver<(Vec<String>, String)>, mpsc::UnboundedReceiver<()>) {
    let (saw, sees) = mpsc::unbounded_channel();
    let (has, having) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let (saw, has) = (saw.clone(), has.clone());
        async move {
            while let Some(head) = peer.head().await {
                let of_framing = |line: &&str| {
                    line.starts_with("content-length") || line.starts_with("transfer-encoding")
                };
                let fields: Vec<_> = head.lines().filter(of_framing).map(str::to_owned).collect();
                let length: Option<usize> = fields
                    .iter()
                    .find_map(|field| field.strip_prefix("content-length: ")?.parse().ok());
                let chunked = fields.iter().any(|field| field.contains("chunked"));
                let mut body = String::new();
                let is_whole = |body: &str| match length {
                    Some(length) => body.len() == length,
                    None => !chunked || body.ends_with("0\r\n\r\n"),
                };
                while !is_whole(&body) {
                    let Ok(byte) = peer.0.read_u8().await else { break };
                    body.push(char::from(byte));
                    if body.ends_with("hello") {
                        has.send(()).unwrap();
                    }
                }
                saw.send((fields, body)).unwrap();
                let body = if head.starts_with("HEAD") { "" } else { "hello" };
                peer.say(&format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{body}")).await;
            }
        }
    })
    .await;
    (server, sees, having)
}

#[tokio::test]
async fn what_is_written_is_on_the_wire() {
    let (server, mut sees, mut has) = recording().await;
    let client = client_of(&server, ClientLimits::default());
    let uri = server.uri("/");
    for method in METHODS {
        for kind in BODIES {
            for length in [None, Some(kind.text().len())] {
                let case = format!("{method} {kind:?} {length:?}");
                let sent = exchange(&client, (&uri, method), kind, length, &mut has).await;
                assert!(sent.is_ok(), "{case}: {sent:?}");
                let (fields, body) = soon(sees.recv()).await.unwrap();
                let expected = expected(method, kind, length);
                assert_eq!((fields, &*body), expected, "{case}");
                while has.try_recv().is_ok() {}
            }
        }
    }
    assert_eq!(server.accepted(), 1, "each message ends where the server thinks that it does");
}

#[tokio::test]
async fn what_does_not_have_the_length_that_it_says_is_told() {
    let (server, mut sees, mut has) = recording().await;
    let client = client_of(&server, ClientLimits::default());
    for method in METHODS {
        for kind in BODIES {
            let right = kind.text().len();
            let wrong = if right == 0 { [3, 300] } else { [right - 1, right + 1] };
            for length in wrong {
                let told =
                    exchange(&client, (&server.uri("/"), method), kind, Some(length), &mut has)
                        .await;
                let case = format!("{method} {kind:?} {length}: {told:?}");
                let said = u64::try_from(length).unwrap();
                let is_told = |error: &SendError| matches!(error, SendError::BodyLength { said: it, .. } if *it == said);
                assert!(told.as_ref().is_err_and(is_told), "{case}");
                while has.try_recv().is_ok() {}
            }
        }
    }
    drop(client);
    drop(server);
    // What the server has of these, it knows to be a part.
    while let Ok((fields, body)) = sees.try_recv() {
        let length = fields[0].strip_prefix("content-length: ").unwrap();
        assert!(body.len() < length.parse().unwrap(), "{fields:?} {body}");
    }
}

/// What a guest writes behind its length is not the next request; the body tells the guest.
#[tokio::test]
async fn what_is_written_behind_the_length_is_not_sent() {
    let (server, mut sees, mut has) = recording().await;
    let client = client_of(&server, ClientLimits::default());
    for method in METHODS {
        let destination = (&*server.uri("/"), method);
        exchange(&client, destination, Body::Streamed, Some(5), &mut has).await.unwrap();
        let (fields, body) = soon(sees.recv()).await.unwrap();
        assert_eq!((fields, &*body), (vec!["content-length: 5".into()], "hello"), "{method}");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_trace_has_no_body() {
    let (server, mut sees, mut has) = recording().await;
    let client = client_of(&server, ClientLimits::default());
    let uri = server.uri("/");
    for kind in [Body::Short, Body::Streamed] {
        let (feed, body) = body(kind);
        let told = soon(client.send(request(&uri, "TRACE", body, None), Timeouts::default())).await;
        assert!(matches!(told, Err(SendError::Header(_))), "{told:?}");
        drop(feed);
    }
    for kind in [Body::None, Body::Empty, Body::EndedLater] {
        exchange(&client, (&uri, "TRACE"), kind, None, &mut has).await.unwrap();
        assert_eq!(soon(sees.recv()).await.unwrap(), (Vec::new(), String::new()));
    }
}

/// A guest that waits for its response before it writes is not waited for.
#[tokio::test]
async fn a_body_that_does_not_begin_is_announced_as_one_that_may() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let heard = heard.clone();
        async move {
            heard.send(peer.head().await.unwrap()).unwrap();
            peer.say(HELLO).await;
            peer.closed().await;
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    let (feed, body) = fed();
    let request = Request::get(server.uri("/")).body(body).unwrap();
    tokio::time::pause();
    let sent = tokio::spawn(async move { client.send(request, Timeouts::default()).await });
    let begun = tokio::time::Instant::now();
    tokio::time::sleep(FIRST_PIECE).await;
    assert!(begun.elapsed() < 2 * FIRST_PIECE);
    tokio::time::resume();
    assert!(soon(hears.recv()).await.unwrap().contains("transfer-encoding: chunked\r\n"));
    assert_eq!(text(soon(sent).await.unwrap().unwrap()).await, "hello");
    drop(feed);
}

/// hyper remembers that a server speaks HTTP/1.0, to which nothing can be streamed, and sent it a request
/// without its body over the same connection.
#[tokio::test]
async fn a_server_of_http_1_0_is_not_sent_half_a_request() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, number| {
        let heard = heard.clone();
        async move {
            while let Some(head) = peer.head().await {
                heard.send((number, head)).unwrap();
                let answer =
                    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\n";
                peer.say(&format!("{answer}hello")).await;
            }
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    assert_eq!(text(send(&client, &server.uri("/")).await.unwrap()).await, "hello");
    let (feed, body) = fed();
    feed.send(piece("hello")).unwrap();
    let request = Request::post(server.uri("/")).body(body).unwrap();
    let response = soon(client.send(request, Timeouts::default())).await.unwrap();
    assert_eq!(text(response).await, "hello");
    assert_eq!(soon(hears.recv()).await.unwrap().0, 0);
    let (number, head) = soon(hears.recv()).await.unwrap();
    assert_eq!(number, 1, "over another connection");
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
}

/// A server of HTTP/2 that tells the method, the length and the body of each request.
async fn recording2() -> (HttpClient, String, mpsc::UnboundedReceiver<(Option<String>, String)>) {
    let (saw, sees) = mpsc::unbounded_channel();
    let (root, config) = certificates();
    let mut config = ServerConfig::clone(&config);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |peer, _| {
        let (acceptor, saw) = (acceptor.clone(), saw.clone());
        let answer = service_fn(move |request: Request<Incoming>| {
            let saw = saw.clone();
            async move {
                let length = request.headers().get(CONTENT_LENGTH);
                let length = length.map(|value| value.to_str().unwrap().to_owned());
                // Who breaks off has no body.
                let body = request.into_body().collect().await;
                let body = body.map_or_else(
                    |why| why.to_string(),
                    |body| String::from_utf8(body.to_bytes().to_vec()).unwrap(),
                );
                saw.send((length, body)).unwrap();
                Ok::<_, Infallible>(Response::new(http_body_util::Full::<Bytes>::from("hello")))
            }
        });
        async move {
            let stream = TokioIo::new(acceptor.accept(peer.0.into_inner()).await.unwrap());
            drop(http2::Builder::new(TokioExecutor::new()).serve_connection(stream, answer).await);
        }
    })
    .await;
    let origin = format!("https://secure.test:{}", server.address.port());
    let names = Names::saying([vec![server.address]]);
    let grants = (vec![origin.parse().unwrap()], LOOPBACK);
    let client =
        HttpClient::with_parts(grants, ClientLimits::default(), names, Trust::only(vec![root]));
    (client, origin, sees)
}

#[tokio::test]
async fn what_is_written_is_in_the_stream_of_http2() {
    let (client, origin, mut sees) = recording2().await;
    for method in METHODS {
        for kind in BODIES {
            for declared in [None, Some(kind.text().len())] {
                let case = format!("{method} {kind:?} {declared:?}");
                let (feed, body) = body(kind);
                if let (Some(feed), Body::Streamed) = (&feed, kind) {
                    feed.send(piece("hello")).unwrap();
                    feed.send(piece(", world")).unwrap();
                }
                let request = request(&origin, method, body, declared);
                let (sending, ended) = (client.clone(), kind == Body::Streamed);
                let sent =
                    tokio::spawn(async move { sending.send(request, Timeouts::default()).await });
                // Of a body that ends later than its head, there is an empty frame at the end.
                tokio::task::yield_now().await;
                drop(feed);
                let response = soon(sent).await.unwrap();
                assert!(response.is_ok(), "{case}: {response:?}");
                drop(response);
                let (length, body) = soon(sees.recv()).await.unwrap();
                assert_eq!(body, kind.text(), "{case}");
                let (fields, _) = expected(method, kind, declared);
                let field = fields.first().and_then(|field| field.strip_prefix("content-length: "));
                if !ended || declared.is_some() {
                    assert_eq!(length.as_deref(), field, "{case}");
                }
            }
        }
    }
}

/// HTTP/2 counts nothing by itself: what was too short was whole for the server.
#[tokio::test]
async fn what_does_not_have_its_length_is_told_over_http2_and_broken() {
    let (client, origin, mut sees) = recording2().await;
    for (kind, length) in [(Body::Short, 4), (Body::Short, 6), (Body::Empty, 1), (Body::None, 1)] {
        let (feed, body) = body(kind);
        let request = request(&origin, "GET", body, Some(length));
        let told = soon(client.send(request, Timeouts::default())).await;
        assert!(matches!(told, Err(SendError::BodyLength { .. })), "{kind:?} {length}: {told:?}");
        drop(feed);
    }
    assert_eq!(text(send(&client, &origin).await.unwrap()).await, "hello");
    let mut seen = Vec::new();
    while let Ok((_, body)) = sees.try_recv() {
        seen.push(body);
    }
    assert!(!seen.iter().any(|body| body == "hello" || body == "hell"), "{seen:?}");
    assert_eq!(seen.last().map(String::as_str), Some(""));
}
