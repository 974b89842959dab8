//! TLS and HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::frames::{self, Cut, LOST};
use crate::support::{Server, Stopping, plan};
use bytes::Bytes;
use host_drain_test::{
    Callback, ClientKind, DrainReport, LossKind, Plan, RefusedBy, StopTrigger, TlsTrust, run,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// An acceptor, and its certificate as PEM.
fn acceptor() -> (TlsAcceptor, String) {
    let pair = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), pair.cert.pem())
}

async fn over_tls(stopping: Stopping) -> (Server, Plan, String) {
    let (tls, pem) = acceptor();
    let server = Server::start_with("127.0.0.1:0", stopping, Some(tls)).await;
    let mut plan = server.plan(&[ClientKind::H1Kept, ClientKind::H1Upload]);
    plan.url = plan.url.replace("http:", "https:");
    (server, plan, pem)
}

#[tokio::test]
async fn right_stop_over_tls_loses_nothing() {
    let (_server, mut plan, _) = over_tls(Stopping::Rightly).await;
    plan.trust = TlsTrust::Anybody;
    let report = run(plan).await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.total().announced, 6, "{report}");
}

#[tokio::test]
async fn end_without_a_response_over_tls_is_a_loss() {
    let (_server, mut plan, pem) = over_tls(Stopping::Closes).await;
    let file = std::env::temp_dir().join(format!("drain-test-{}.pem", std::process::id()));
    std::fs::write(&file, pem).unwrap();
    plan.trust = TlsTrust::File(file.clone());
    let report = run(plan).await.unwrap();
    std::fs::remove_file(file).unwrap();
    assert_eq!(report.total().lost.get(&LossKind::Eof).map(|c| c.sum()), Some(6), "{report}");
}

#[tokio::test]
async fn certificate_that_nobody_vouches_for_is_our_own_failure() {
    let (_server, mut plan, _) = over_tls(Stopping::NotAtAll).await;
    plan.after = Duration::ZERO;
    let report = run(plan).await.unwrap();
    let total = report.total();
    assert!(total.own_failures > 0 && total.sent == 0, "{report}");
    assert!(!report.is_clean(), "nothing was tested: {report}");
}

/// How a server of HTTP/2 stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum H2Stop {
    /// With GOAWAY, and after its last response.
    Rightly,
    /// By an end of each connection that has a request.
    Closes,
    /// With 503.
    Says503,
    /// With `REFUSED_STREAM` and GOAWAY.
    Refuses,
    /// As frames say that are written by hand.
    Cuts(Cut),
}

async fn h2_plan(stopping: H2Stop) -> (JoinSet<()>, Plan) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let stop = watch::Sender::new(false);
    let receiver = stop.subscribe();
    let call = Callback::new(move || {
        stop.send_replace(true);
    });
    let mut server = JoinSet::new();
    server.spawn(h2_accept(listener, receiver, stopping));
    (server, plan(address, "http", StopTrigger::Call(call), &[ClientKind::H2Kept]))
}

async fn h2_accept(listener: TcpListener, mut stop: watch::Receiver<bool>, stopping: H2Stop) {
    let closed = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, closed) = (accepted.unwrap().0, closed.subscribe());
                connections.spawn(async move {
                    match stopping {
                        H2Stop::Cuts(cut) => drop(frames::serve(stream, closed, cut).await),
                        _ => h2_serve(stream, closed, stopping).await,
                    }
                });
            }
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    drop(listener);
    closed.send_replace(true);
    while connections.join_next().await.is_some() {}
}

async fn h2_serve(stream: TcpStream, mut closed: watch::Receiver<bool>, stopping: H2Stop) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut told = false;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            _ = closed.wait_for(|closed| *closed), if !told && stopping == H2Stop::Rightly => {
                told = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((_, mut respond))) = accepted else { return };
        let stop = *closed.borrow();
        let status = match stopping {
            H2Stop::Closes if stop => return,
            H2Stop::Refuses if stop => {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                connection.graceful_shutdown();
                continue;
            }
            H2Stop::Says503 if stop => {
                connection.graceful_shutdown();
                503
            }
            _ => 200,
        };
        let response = http::Response::builder().status(status).body(()).unwrap();
        if let Ok(mut body) = respond.send_response(response, false) {
            drop(body.send_data(Bytes::from_static(b"ok"), true));
        }
    }
}

#[tokio::test]
async fn goaway_and_a_last_response_lose_nothing() {
    let (_server, plan) = h2_plan(H2Stop::Rightly).await;
    let report = run(plan).await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.total().connections, report.total().announced), (3, 3), "{report}");
}

#[tokio::test]
async fn refused_streams_are_refused_and_not_lost() {
    let (_server, plan) = h2_plan(H2Stop::Refuses).await;
    let report = run(plan).await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert!(report.total().refused.contains_key(&RefusedBy::Stream), "{report}");
}

#[tokio::test]
async fn connection_that_ends_without_goaway_loses_its_streams() {
    let (_server, plan) = h2_plan(H2Stop::Closes).await;
    let report = run(plan).await.unwrap();
    let lost = report.total().lost_in_all();
    assert!((3..=12).contains(&lost), "{report}");
    let kinds = [LossKind::Eof, LossKind::Reset];
    assert!(report.losses.iter().all(|loss| kinds.contains(&loss.kind)), "{report}");
}

#[tokio::test]
async fn status_503_over_http2_is_a_loss() {
    let (_server, plan) = h2_plan(H2Stop::Says503).await;
    let report = run(plan).await.unwrap();
    assert!(report.total().lost.contains_key(&LossKind::ServerError), "{report}");
}

/// Each of three connections loses some requests in this way, and has an end in order after that.
async fn cut(cut: Cut) -> DrainReport {
    let (_server, plan) = h2_plan(H2Stop::Cuts(cut)).await;
    let report = run(plan).await.unwrap();
    assert_eq!(report.trouble, None, "{report}");
    assert_eq!((report.total().connections, report.total().announced), (3, 3), "{report}");
    report
}

/// They were once refused, although the client had the head of a response.
#[tokio::test]
async fn response_that_has_begun_is_cut_whatever_the_server_says_of_its_stream() {
    let report = cut(Cut::HalfThenRefused).await;
    assert_eq!(report.losses.len(), 3 * LOST, "{report}");
    assert!(report.losses.iter().all(|loss| loss.kind == LossKind::Truncated), "{report}");
    assert!(!report.total().refused.contains_key(&RefusedBy::Stream), "{report}");

    let report = cut(Cut::HalfThenGoaway).await;
    assert_eq!(report.losses.len(), 3, "{report}");
    assert!(report.losses.iter().all(|loss| loss.kind == LossKind::Truncated), "{report}");
}

#[tokio::test]
async fn request_whose_stream_alone_was_reset_is_not_to_be_repeated() {
    let report = cut(Cut::Cancelled).await;
    assert_eq!(report.losses.len(), 3 * LOST, "{report}");
    assert!(report.losses.iter().all(|loss| loss.kind == LossKind::Reset), "{report}");
    assert_eq!((report.repeatable, report.total().repeatable), (0, 0), "{report}");
    assert!(report.losses.iter().all(|loss| !loss.repeatable), "{report}");

    let (_server, plan) = h2_plan(H2Stop::Closes).await;
    let report = run(plan).await.unwrap();
    assert_eq!(report.repeatable, report.total().lost_in_all(), "{report}");
    assert!(report.losses.iter().all(|loss| loss.repeatable), "{report}");
}
