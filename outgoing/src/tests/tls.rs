//! TLS, and HTTP/2 over it.

use std::convert::Infallible;

use http::Version;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A root, and a server's certificate for `secure.test`.
pub(super) fn certificates() -> (CertificateDer<'static>, Arc<ServerConfig>) {
    certificates_of(&CertificateParams::new(vec!["secure.test".into()]).unwrap())
}

fn certificates_of(leaf: &CertificateParams) -> (CertificateDer<'static>, Arc<ServerConfig>) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = ca.self_signed(&ca_key).unwrap().der().clone();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)
        .unwrap();
    (root, Arc::new(config))
}

/// A server of the protocols that it offers, and its root.
async fn secure(protocols: &[&[u8]]) -> (Server, CertificateDer<'static>) {
    let (root, config) = certificates();
    let mut config = ServerConfig::clone(&config);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |peer, _| {
        let acceptor = acceptor.clone();
        async move {
            // Who does not like the certificate goes away.
            let Ok(stream) = acceptor.accept(peer.0.into_inner()).await else { return };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let stream = TokioIo::new(stream);
            if http2 {
                let serving = http2::Builder::new(TokioExecutor::new());
                drop(serving.serve_connection(stream, service_fn(answer)).await);
            } else {
                drop(http1::Builder::new().serve_connection(stream, service_fn(answer)).await);
            }
        }
    })
    .await;
    (server, root)
}

/// `/stall` begins a body and does not end it; all others say hello.
async fn answer(
    request: Request<Incoming>,
) -> Result<Response<Either<Full<Bytes>, Pending>>, Infallible> {
    let hello = Either::Left(Full::from("hello"));
    Ok(Response::new(if request.uri().path() == "/stall" { Either::Right(Pending) } else { hello }))
}

struct Pending;

impl http_body::Body for Pending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}

fn client(
    server: &Server,
    host: &str,
    roots: Vec<CertificateDer<'static>>,
) -> (HttpClient, String) {
    let origin = format!("https://{host}:{}", server.address.port());
    let names = Names::saying([vec![server.address]]);
    let granted = vec![origin.parse().unwrap()];
    let grants = (granted, LOOPBACK);
    (HttpClient::with_parts(grants, ClientLimits::default(), names, Trust::only(roots)), origin)
}

#[tokio::test]
async fn a_server_that_offers_http2_gets_it_on_one_connection() {
    let (server, root) = secure(&[b"h2", b"http/1.1"]).await;
    let (client, origin) = client(&server, "secure.test", vec![root]);
    let first = send(&client, &origin).await.unwrap();
    assert_eq!(first.version(), Version::HTTP_2);
    let stalled = send(&client, &format!("{origin}/stall")).await.unwrap();
    let third = send(&client, &origin).await.unwrap();
    assert_eq!(text(third).await, "hello");
    drop(stalled);
    assert_eq!(text(first).await, "hello");
    assert_eq!(text(send(&client, &origin).await.unwrap()).await, "hello");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_burst_to_a_new_server_of_http2_all_succeeds() {
    let (server, root) = secure(&[b"h2"]).await;
    let (client, origin) = client(&server, "secure.test", vec![root]);
    let burst: Vec<_> = (0..20)
        .map(|_| {
            let (client, origin) = (client.clone(), origin.clone());
            tokio::spawn(async move { text(send(&client, &origin).await.unwrap()).await })
        })
        .collect();
    for one in burst {
        assert_eq!(soon(one).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_server_without_http2_gets_http1() {
    let (server, root) = secure(&[b"http/1.1"]).await;
    let (client, origin) = client(&server, "secure.test", vec![root]);
    for _ in 0..2 {
        let response = send(&client, &origin).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_11);
        assert_eq!(text(response).await, "hello");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused() {
    let (server, root) = secure(&[b"h2"]).await;
    let (other, _) = certificates();
    let (stranger, origin) = client(&server, "secure.test", vec![other]);
    let refused = send(&stranger, &origin).await;
    assert!(matches!(refused, Err(SendError::Certificate { .. })), "{refused:?}");
    let (misled, origin) = client(&server, "other.test", vec![root]);
    let refused = send(&misled, &origin).await;
    assert!(matches!(refused, Err(SendError::Certificate { .. })), "{refused:?}");
}

/// What an operator is told of a certificate that is refused.
async fn refusal(leaf: &CertificateParams, host: &str, trusted: bool) -> String {
    let (root, config) = certificates_of(leaf);
    let acceptor = TlsAcceptor::from(config);
    let server = Server::start(move |peer, _| {
        let acceptor = acceptor.clone();
        async move { drop(acceptor.accept(peer.0.into_inner()).await) }
    })
    .await;
    let roots = if trusted { vec![root] } else { Vec::new() };
    let (client, origin) = client(&server, host, roots);
    let why = send(&client, &origin).await.unwrap_err().to_string();
    let of = format!("the certificate of {host}:{} is refused: ", server.address.port());
    why.strip_prefix(&of).unwrap_or_else(|| panic!("{why}")).to_owned()
}

#[tokio::test]
async fn why_a_certificate_is_refused_is_said_in_words() {
    let named = |name: &str| CertificateParams::new(vec![name.into()]).unwrap();
    let (mut old, mut early) = (named("secure.test"), named("secure.test"));
    (old.not_before, old.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    (early.not_before, early.not_after) = (date_time_ymd(4001, 1, 1), date_time_ymd(4002, 1, 1));
    assert_eq!(refusal(&old, "secure.test", true).await, "it has expired");
    assert_eq!(refusal(&early, "secure.test", true).await, "it is not valid yet");
    let other = refusal(&named("other.test"), "secure.test", true).await;
    assert!(other.starts_with("it is for another name") && other.contains("other.test"), "{other}");
    let unknown = refusal(&named("secure.test"), "secure.test", false).await;
    assert!(unknown.starts_with("its issuer is unknown"), "{unknown}");
}

#[tokio::test]
async fn the_roots_of_the_process_do_not_believe_just_anybody() {
    let (server, _) = secure(&[b"h2"]).await;
    let origin = format!("https://secure.test:{}", server.address.port());
    let names = Names::saying([vec![server.address]]);
    let grants = (vec![origin.parse().unwrap()], LOOPBACK);
    let client = HttpClient::with_parts(grants, ClientLimits::default(), names, Trust::process());
    let refused = send(&client, &origin).await;
    assert!(matches!(refused, Err(SendError::Certificate { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_told_so() {
    let server = Server::start(|mut peer, _| async move {
        peer.say("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer.closed().await;
    })
    .await;
    let (client, origin) = client(&server, "secure.test", Vec::new());
    let refused = send(&client, &origin).await;
    assert!(matches!(refused, Err(SendError::Tls { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_handshake_that_stands_still_has_our_deadline() {
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let heard = heard.clone();
        async move {
            heard.send(peer.0.read_u8().await.unwrap()).unwrap();
            peer.closed().await;
        }
    })
    .await;
    let (client, origin) = client(&server, "secure.test", Vec::new());
    let other = client.clone();
    let request = tokio::spawn(async move { other.send(get(&origin), Timeouts::default()).await });
    assert_eq!(soon(hears.recv()).await, Some(22), "a ClientHello");
    tokio::time::pause();
    let refused = request.await.unwrap();
    assert!(matches!(refused, Err(SendError::ConnectTimeout)), "{refused:?}");
    assert_eq!(client.open_connections(), 0);
}
