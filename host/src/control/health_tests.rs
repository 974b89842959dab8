//! What a load balancer is told in each phase.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// One request on a connection of its own: status line and body.
async fn ask(health: &HealthServer, line: &str) -> (String, String) {
    let mut stream = TcpStream::connect(health.address()).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn alive_in_every_phase_and_ready_in_one() {
    let (set, phase) = PhaseWatch::with_setter();
    let health = HealthServer::start(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        (phase, |_| String::new()),
        Alarm::unheard(),
        &Handle::current(),
    )
    .unwrap();
    for (phase, ready, name) in [
        (Phase::Starting, "503", "starting\n"),
        (Phase::Ready, "200", "ready\n"),
        (Phase::LameDuck, "503", "lame-duck\n"),
        (Phase::Draining, "503", "draining\n"),
        (Phase::Cut, "503", "cut\n"),
    ] {
        set(phase);
        for (path, status) in [("/livez", "200"), ("/readyz", ready)] {
            let (head, body) = ask(&health, &format!("GET {path}")).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
            assert_eq!(body, name);
            let (head, body) = ask(&health, &format!("HEAD {path}")).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
            assert_eq!(body, "");
        }
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let (_set, phase) = PhaseWatch::with_setter();
    let health = HealthServer::start(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        (phase, |_| String::new()),
        Alarm::unheard(),
        &Handle::current(),
    )
    .unwrap();
    let (head, body) = ask(&health, "GET /").await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert!(body.contains("/readyz"), "{body}");
    let (head, _) = ask(&health, "POST /livez").await;
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    assert!(head.contains("allow: GET, HEAD"), "{head}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error() {
    let (_set, phase) = PhaseWatch::with_setter();
    let first = HealthServer::start(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        (phase.clone(), |_| String::new()),
        Alarm::unheard(),
        &Handle::current(),
    )
    .unwrap();
    let why = HealthServer::start(
        first.address(),
        (phase, |_| String::new()),
        Alarm::unheard(),
        &Handle::current(),
    )
    .unwrap_err();
    assert_eq!(why.kind(), io::ErrorKind::AddrInUse);
}

/// Fifty scrapers of a host with 1,000 components kept probes waiting for nine seconds.
#[tokio::test]
async fn probes_are_answered_while_a_page_of_metrics_is_made() {
    let (_set, phase) = PhaseWatch::with_setter();
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let (go, goes) = std::sync::mpsc::channel();
    let metrics = move |_| {
        begun.send(()).unwrap();
        goes.recv().unwrap();
        "page\n".to_owned()
    };
    let health = HealthServer::start(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        (phase, metrics),
        Alarm::unheard(),
        &Handle::current(),
    )
    .unwrap();
    let scrape = ask(&health, "GET /metrics");
    let probe = async {
        begins.recv().await.unwrap();
        let (head, _) = ask(&health, "GET /livez").await;
        go.send(()).unwrap();
        head
    };
    let ((_, page), probed) = tokio::join!(scrape, probe);
    assert!(probed.starts_with("HTTP/1.1 200 "), "{probed}");
    assert_eq!(page, "page\n");
}
