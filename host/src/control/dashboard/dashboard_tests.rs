//! What a browser is told, over a real socket.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

use super::*;
use crate::control::fake::Fake;
use crate::control::schema::StopEnd;

fn start(host: &Arc<Fake>) -> DashboardServer {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    DashboardServer::start(address, host.clone(), Alarm::unheard(), &Handle::current()).unwrap()
}

async fn connect(dashboard: &DashboardServer, line: &str, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(dashboard.address()).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// One request on a connection of its own.
async fn ask(dashboard: &DashboardServer, line: &str, host: &str) -> String {
    let mut answer = String::new();
    connect(dashboard, line, host).await.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Reads until `text` has come.
async fn read_to(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        read.push(stream.read_u8().await.expect("more of the answer"));
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn the_page_comes_with_a_policy_that_lets_nothing_else_in() {
    let dashboard = start(&Fake::new());
    let answer = ask(&dashboard, "GET /", "localhost:1").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; script-src 'sha256-",
        "frame-ancestors 'none'",
        "x-frame-options: DENY",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cross-origin-resource-policy: same-origin",
        "cache-control: no-store",
    ] {
        assert!(answer.contains(header), "no {header}");
    }
    assert!(!answer.contains("unsafe"), "{answer}");
    assert!(!ask(&dashboard, "HEAD /", "localhost").await.contains("<html"));
}

#[tokio::test]
async fn a_request_under_another_name_or_to_change_something_is_refused() {
    let dashboard = start(&Fake::new());
    for (line, host, status) in [
        ("GET /", "evil.example", "421"),
        ("GET /events", "evil.example", "421"),
        ("GET http://evil.example/", "localhost", "421"),
        ("POST /", "localhost", "405"),
        ("POST /events", "localhost", "405"),
        ("GET /v1/status", "localhost", "404"),
        ("GET /metrics", "localhost", "404"),
    ] {
        let answer = ask(&dashboard, line, host).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line} {host}: {answer}");
        assert!(answer.contains("x-frame-options: DENY"), "{answer}");
    }
}

#[tokio::test]
async fn events_are_the_history_then_each_tick_and_how_it_ended() {
    let host = Fake::new();
    let dashboard = start(&host);
    let mut stream = connect(&dashboard, "GET /events", "127.0.0.1").await;
    let first = read_to(&mut stream, "event: tick").await;
    assert!(first.contains("text/event-stream"), "{first}");
    assert!(first.contains("event: history\ndata: {\"span_ms\":5000,"), "{first}");
    read_to(&mut stream, "\n\n").await;
    host.ticks.send_replace(1);
    let second = read_to(&mut stream, "\n\n").await;
    assert!(second.contains("event: tick\ndata: {\"status\":{"), "{second}");
    assert!(!second.contains("event: history"), "it has not changed: {second}");
    host.ended.send_replace(Some(StopEnd { exit: 1, report: "stopped in 1 s".into() }));
    spawn_blocking(move || dashboard.close(Duration::from_secs(30))).await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(
        rest.contains("event: end\ndata: {\"exit\":1,\"report\":\"stopped in 1 s\"}"),
        "{rest}"
    );
}

#[tokio::test]
async fn tabs_beyond_the_limit_are_told_so_and_one_that_closes_makes_room() {
    let dashboard = start(&Fake::new());
    let mut streams = Vec::new();
    for _ in 0..MOST_STREAMS {
        let mut stream = connect(&dashboard, "GET /events", "localhost").await;
        read_to(&mut stream, "event: tick").await;
        streams.push(stream);
    }
    let answer = ask(&dashboard, "GET /events", "localhost").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let answer = ask(&dashboard, "GET /", "localhost").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "the page is still there");
    streams.pop();
    loop {
        let mut stream = connect(&dashboard, "GET /events", "localhost").await;
        if read_to(&mut stream, "\r\n").await.contains(" 200 ") {
            break;
        }
    }
}
