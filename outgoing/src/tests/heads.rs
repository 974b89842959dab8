//! What goes out, and what comes in.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, Version};
use http_body::Frame;
use http_body_util::{Either, Full};
use tokio::sync::mpsc;

use super::*;

/// A server that tells what it heard.
async fn listening() -> (Server, mpsc::UnboundedReceiver<String>) {
    let (heard, hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let heard = heard.clone();
        async move {
            while let Some(head) = peer.head().await {
                heard.send(head).unwrap();
                peer.say(HELLO).await;
            }
        }
    })
    .await;
    (server, hears)
}

#[tokio::test]
async fn fields_of_the_connection_are_not_the_guests() {
    let (server, mut hears) = listening().await;
    let client = client_of(&server, ClientLimits::default());
    let mut request = get(&server.uri("/a?b"));
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    for (name, value) in [
        ("host", "evil.test"),
        ("connection", "x-named, close, content-length"),
        ("x-named", "1"),
        ("keep-alive", "timeout=1"),
        ("proxy-authorization", "secret"),
        ("proxy-connection", "close"),
        ("te", "gzip, trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("x-kept", "2"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    let response = soon(client.send(request, Timeouts::default())).await.unwrap();
    assert_eq!(text(response).await, "hello");
    let mut lines: Vec<_> =
        hears.recv().await.unwrap().trim_end().lines().map(str::to_owned).collect();
    assert_eq!(lines.remove(0), "GET /a?b HTTP/1.1");
    lines.sort();
    assert_eq!(lines, [&*format!("host: {}", server.address), "te: trailers", "x-kept: 2"]);
}

#[tokio::test]
async fn a_response_keeps_the_fields_of_its_connection_to_itself() {
    let server = Server::start(|mut peer, _| async move {
        peer.head().await;
        peer.say(
            "HTTP/1.1 200 OK\r\nconnection: x-named\r\nx-named: 1\r\nkeep-alive: timeout=5\r\n\
             transfer-encoding: chunked\r\nx-kept: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        )
        .await;
        peer.closed().await;
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    let response = send(&client, &server.uri("/")).await.unwrap();
    let names: Vec<_> = response.headers().keys().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(names, ["x-kept"]);
    assert_eq!(text(response).await, "hi");
}

#[tokio::test]
async fn two_lengths_or_none_that_is_a_number_are_refused() {
    let (server, mut hears) = listening().await;
    let client = client_of(&server, ClientLimits::default());
    for lengths in [&["5", "6"][..], &["5", "5"], &["5, 5"], &["+5"], &["-1"], &["5x"], &[""]] {
        let mut request = Request::post(server.uri("/")).body(Full::from("hello")).unwrap();
        for length in lengths {
            request.headers_mut().append(CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        let refused = soon(client.send(request, Timeouts::default())).await;
        assert!(matches!(refused, Err(SendError::Header(_))), "{lengths:?}");
    }
    assert!(hears.try_recv().is_err());
}

#[tokio::test]
async fn connect_is_refused() {
    let (server, _hears) = listening().await;
    let client = client_of(&server, ClientLimits::default());
    let mut request = get(&server.uri("/"));
    *request.method_mut() = Method::CONNECT;
    let refused = soon(client.send(request, Timeouts::default())).await;
    assert!(matches!(refused, Err(SendError::Method)));
    assert_eq!(server.accepted(), 0);
}

/// What keeps a head from being two: the types of `http` hold no CR, LF or NUL. A guest's bytes become
/// these types before they get here.
#[test]
fn the_types_of_a_head_hold_no_line_ends() {
    for bad in ["a\r\nx: y", "a\ny", "a\ry", "a\0y"] {
        assert!(HeaderValue::from_str(bad).is_err(), "{bad:?}");
        assert!(HeaderValue::from_bytes(bad.as_bytes()).is_err(), "{bad:?}");
        assert!(bad.parse::<http::HeaderName>().is_err(), "{bad:?}");
        assert!(Method::from_bytes(bad.as_bytes()).is_err(), "{bad:?}");
        assert!(format!("http://a.test/{bad}").parse::<http::Uri>().is_err(), "{bad:?}");
        assert!(format!("http://a.test{bad}/").parse::<http::Uri>().is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn line_ends_in_disguise_stay_inside_their_value() {
    let (server, mut hears) = listening().await;
    let client = client_of(&server, ClientLimits::default());
    let mut request = get(&server.uri("/%0d%0aGET%20/evil"));
    // NEL and other bytes above ASCII, which somebody may take for a line end, but not HTTP.
    let value = HeaderValue::from_bytes("a\u{85}\u{2028}x: y".as_bytes()).unwrap();
    request.headers_mut().insert("x-odd", value);
    let response = soon(client.send(request, Timeouts::default())).await.unwrap();
    assert_eq!(text(response).await, "hello");
    let head = hears.recv().await.unwrap();
    assert!(head.starts_with("GET /%0d%0aGET%20/evil HTTP/1.1\r\n"), "{head:?}");
    assert_eq!(head.matches("\r\n").count(), 4, "{head:?}");
    assert!(hears.try_recv().is_err());
}

/// It was cut at the length, and the guest was told only by its own end of the body. Now nothing of it is
/// sent where its length is known, and no piece that goes beyond its head otherwise.
#[tokio::test]
async fn a_body_longer_than_its_length_does_not_become_a_second_request() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let heard = heard.clone();
        async move {
            let mut all = String::new();
            drop(peer.0.read_to_string(&mut all).await);
            heard.send(all).unwrap();
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    let evil = Full::<Bytes>::from("helloGET /evil HTTP/1.1\r\nhost: x\r\n\r\n");
    for streamed in [false, true] {
        let body = match streamed {
            // It does not say how long it is.
            true => Either::Left(evil.clone().map_frame(|frame| frame)),
            false => Either::Right(evil.clone()),
        };
        let mut request = Request::post(server.uri("/")).body(body).unwrap();
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        let told = soon(client.send(request, Timeouts::default())).await;
        assert!(matches!(told, Err(SendError::BodyLength { said: 5, .. })), "{told:?}");
    }
    drop(client);
    let heard = soon(hears.recv()).await.unwrap();
    assert!(!heard.contains("evil"), "{heard:?}");
}

/// hyper keeps the length of a message whose body has ended already, sends no byte of it, and the next
/// request of the pool over the same connection: the server took that for the body.
#[tokio::test]
async fn a_length_without_a_body_is_refused() {
    let (server, mut hears) = listening().await;
    let client = client_of(&server, ClientLimits::default());
    let mut request = get(&server.uri("/"));
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    let response = soon(client.send(request, Timeouts::default())).await.unwrap();
    assert_eq!(text(response).await, "hello");
    soon(hears.recv()).await.unwrap();
    let mut request = get(&server.uri("/"));
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
    let refused = soon(client.send(request, Timeouts::default())).await;
    assert!(matches!(refused, Err(SendError::BodyLength { said: 5, bytes: 0 })), "{refused:?}");
    assert!(hears.try_recv().is_err());
}

/// A body that ends, with nothing in it, between the judgement of its head and its connection.
#[derive(Default)]
struct Ending(AtomicUsize);

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        // Once for the judgement of the head, once for the record of the upload.
        self.0.fetch_add(1, Ordering::SeqCst) > 1
    }
}

#[tokio::test]
async fn a_body_that_ends_short_of_its_length_does_not_get_the_next_request() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, number| {
        let heard = heard.clone();
        async move {
            peer.head().await;
            peer.say(HELLO).await;
            let mut rest = String::new();
            drop(peer.0.read_to_string(&mut rest).await);
            heard.send((number, rest)).unwrap();
        }
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    let mut request = Request::post(server.uri("/")).body(Ending::default()).unwrap();
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
    // Whether it is answered or breaks is not promised.
    if let Ok(response) = soon(client.send(request, Timeouts::default())).await {
        drop(soon(response.into_body().collect()).await);
    }
    assert_eq!(text(send(&client, &server.uri("/next")).await.unwrap()).await, "hello");
    drop(client);
    assert_eq!(soon(hears.recv()).await.unwrap(), (0, String::new()));
}

/// An answer with these fields and this body, as a guest sees it: its fields in order, and its text.
async fn seen(method: &str, answer: &'static str) -> Result<(Vec<String>, String), SendError> {
    let server = Server::start(move |mut peer, _| async move {
        peer.head().await;
        peer.say(answer).await;
    })
    .await;
    let client = client_of(&server, ClientLimits::default());
    let request = Request::builder().method(method).uri(server.uri("/"));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = soon(client.send(request, Timeouts::default())).await?;
    let field = |(name, value): (&http::HeaderName, &HeaderValue)| {
        format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
    };
    let fields = response.headers().iter().map(field).collect();
    Ok((fields, text(response).await))
}

/// Two equal lengths reached the guest as two, and our own proxy trapped over them.
#[tokio::test]
async fn lengths_that_are_equal_are_one_and_others_are_refused() {
    let twice = "content-length: 5\r\ncontent-length: 5\r\n";
    for (method, status, lengths, body) in [
        ("GET", "200 OK", twice, "hello"),
        ("GET", "200 OK", "content-length: 5, 5\r\n", "hello"),
        ("GET", "200 OK", "content-length: 005\r\n", "hello"),
        ("HEAD", "200 OK", twice, ""),
        ("GET", "304 Not Modified", "content-length: 5, 5\r\n", ""),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\n{lengths}\r\n{body}");
        let (fields, text) = seen(method, answer.leak()).await.unwrap();
        assert_eq!((fields, &*text), (vec!["content-length: 5".to_owned()], body), "{lengths}");
    }
    let (fields, _) = seen("GET", "HTTP/1.1 204 Done\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    assert!(fields.is_empty(), "{fields:?}");
    for (method, status, lengths) in [
        ("GET", "200 OK", "content-length: 5\r\ncontent-length: 6\r\n"),
        ("HEAD", "200 OK", "content-length: 5\r\ncontent-length: 6\r\n"),
        ("HEAD", "200 OK", "content-length: 5, 6\r\n"),
        ("HEAD", "200 OK", "content-length: -5\r\n"),
        ("HEAD", "200 OK", "content-length: 5,\r\n"),
        ("GET", "304 Not Modified", "content-length: +5\r\n"),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\n{lengths}\r\nhello!");
        let refused = seen(method, answer.leak()).await;
        assert!(matches!(refused, Err(SendError::Protocol(_))), "{lengths}: {refused:?}");
    }
}

/// The chunks were taken off, and with them the word that there is gzip underneath.
#[tokio::test]
async fn a_transfer_coding_that_nobody_asked_for_is_refused() {
    for coding in ["gzip, chunked", "gzip", "chunked, gzip", "chunked, chunked", "identity", ""] {
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\n");
        let refused = seen("GET", answer.leak()).await;
        assert!(matches!(refused, Err(SendError::TransferCoding)), "{coding}: {refused:?}");
    }
    for coding in ["chunked", "Chunked", " chunked "] {
        let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding:{coding}\r\n\r\n");
        let answer = format!("{head}2\r\nhi\r\n0\r\n\r\n");
        assert_eq!(seen("GET", answer.leak()).await.unwrap(), (Vec::new(), "hi".into()));
    }
}

/// RFC 9112 §5.1 and §5.2: a response is mended, and not thrown away.
#[tokio::test]
async fn fields_of_old_servers_are_mended() {
    for (fields, expected) in [
        ("x-a: one\r\n two\r\n", "x-a: one two"),
        ("x-a: one\r\n\ttwo \r\n\t \tthree\r\n", "x-a: one two three"),
        ("x-a:\r\n one\r\n", "x-a: one"),
        ("x-a : one\r\n", "x-a: one"),
        ("x-a\t: one\r\n", "x-a: one"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 5\r\n\r\nhello");
        let (fields, text) = seen("GET", answer.leak()).await.unwrap();
        assert_eq!(fields, [expected, "content-length: 5"], "{fields:?}");
        assert_eq!(text, "hello");
    }
    for framing in ["content-length : 5\r\n", "content-length:\r\n 5\r\n"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\nhello");
        let (fields, text) = seen("GET", answer.leak()).await.unwrap();
        assert_eq!((fields, &*text), (vec!["content-length: 5".to_owned()], "hello"));
    }
    let refused = seen("GET", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n 5\r\n\r\nhello").await;
    assert!(matches!(refused, Err(SendError::Protocol(_))), "{refused:?}");
}

#[tokio::test]
async fn endless_headers_end_at_the_limit() {
    for line in ["x-filler: 0123456789012345678901234567890123456789\r\n", "a: b\r\n"] {
        let server = Server::start(move |mut peer, _| async move {
            peer.head().await;
            peer.say("HTTP/1.1 200 OK\r\n").await;
            while peer.0.write_all(line.as_bytes()).await.is_ok() {}
        })
        .await;
        let client = client_of(&server, ClientLimits::default());
        let refused = send(&client, &server.uri("/")).await;
        assert!(matches!(refused, Err(SendError::HeadTooLarge)), "{refused:?}");
    }
}

#[tokio::test]
async fn nonsense_is_a_breach_of_the_protocol_and_101_is_too() {
    for answer in [
        "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "HTTP/1.1 101 Now\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ] {
        let server = Server::start(move |mut peer, _| async move {
            peer.head().await;
            peer.say(answer).await;
            peer.closed().await;
        })
        .await;
        let client = client_of(&server, ClientLimits::default());
        let refused = send(&client, &server.uri("/")).await;
        assert!(matches!(refused, Err(SendError::Protocol(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn no_secret_is_in_the_text_of_a_refusal() {
    let client = client_with(&[], NOTHING, ClientLimits::default(), &Names::default());
    for uri in ["http://a.test/token-secret?key=secret", "http://user:secret@a.test/secret"] {
        let refused = send(&client, uri).await.unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("secret"), "{refused:?}");
    }
}
