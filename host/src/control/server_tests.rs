//! Every path, every refusal, and a stop that is followed: over a real socket, with a fake host.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use std::path::PathBuf;

use super::*;
use crate::control::deadlines::{IDLE, REQUEST_IN};
use crate::control::fake::Fake;
use crate::control::schema::{CanaryStatus, StopEnd};
use crate::control::{SocketChoice, open};

/// A fake host with its server, on the runtime of the test.
struct World {
    host: Arc<Fake>,
    server: ControlServer,
}

fn world(name: &str) -> World {
    let path = std::env::temp_dir().join(format!("host-server-{name}-{}.sock", std::process::id()));
    let socket = open(SocketChoice::Path(path)).unwrap().unwrap();
    let host = Fake::new();
    let server =
        ControlServer::start(socket, host.clone(), Alarm::unheard(), &Handle::current()).unwrap();
    World { host, server }
}

impl World {
    async fn raw(&self) -> UnixStream {
        UnixStream::connect(self.server.path()).await.unwrap()
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Response<Incoming> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(self.raw().await)).await.unwrap();
        // Ends with the answer's body.
        tokio::spawn(async move { connection.await.ok() });
        let request = Request::builder().method(method).uri(path).header("host", "host");
        let request = request.body(Full::<Bytes>::from(body.to_owned())).unwrap();
        sender.send_request(request).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let answer = self.send(method, path, body).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

#[tokio::test]
async fn every_path_is_answered_and_every_command_reaches_the_host() {
    let world = world("paths");
    let swapped = json!({"outcome": "swapped", "from": 1, "to": 2, "took_ms": 3});
    for (method, path, body, status, part) in [
        ("GET", "/v1/status", "", 200, json!({"schema": "1", "phase": "ready"})),
        ("GET", "/v1/generations", "", 200, json!({"generations": []})),
        ("POST", "/v1/reload", "", 200, json!({"outcome": "unchanged", "generation": 1})),
        ("POST", "/v1/swap", r#"{"path":"/new.wasm"}"#, 200, swapped),
        (
            "POST",
            "/v1/swap",
            r#"{"path":"/bad"}"#,
            422,
            json!({"outcome": "rejected", "step": "load"}),
        ),
        ("POST", "/v1/rollback", "{}", 200, json!({"outcome": "swapped", "to": 1})),
        ("GET", "/v1/canaries", "", 200, json!({"canaries": []})),
        ("POST", "/v1/promote", "", 422, json!({"outcome": "rejected", "step": "ask"})),
        ("POST", "/v1/abort", "{}", 200, json!({"outcome": "aborted", "to": 2})),
        ("POST", "/v1/drain", " ", 200, json!({"phase": "draining", "exchanges": 1})),
        ("POST", "/v1/undrain", "", 409, json!({"error": "it is stopping"})),
        ("POST", "/v1/stop", "", 202, json!({"deadline_ms": 25000})),
        ("POST", "/v1/stop", r#"{"now":true}"#, 202, json!({"elapsed_ms": 1})),
    ] {
        let (code, answer) = world.ask(method, path, body).await;
        assert_eq!(code, status, "{path}: {answer}");
        for (key, value) in part.as_object().unwrap() {
            assert_eq!(&answer[key], value, "{path}: {answer}");
        }
    }
    let (_, connections) = world.ask("GET", "/v1/connections", "").await;
    assert_eq!(connections["connections"][0]["state"], "idle");
    assert_eq!(
        world.host.asked(),
        [
            "reload",
            "swap /new.wasm",
            "swap /bad",
            "rollback",
            "promote",
            "abort",
            "drain",
            "undrain",
            "stop now=false",
            "stop now=true"
        ]
    );
}

#[tokio::test]
async fn buckets_are_read_and_written_through_the_host() {
    let world = world("buckets");
    for (method, path, body, status, expected) in [
        ("GET", "/v1/kv", "", 200, json!({"buckets": []})),
        ("POST", "/v1/kv/list", r#"{"bucket":"b"}"#, 200, json!({"keys": ["k"], "cursor": "c"})),
        ("POST", "/v1/kv/get", r#"{"bucket":"b","key":"k"}"#, 200, json!({"value_base64": "dg=="})),
        (
            "POST",
            "/v1/kv/set",
            r#"{"component":"a","bucket":"b","key":"k","value_base64":"dg==","ttl_ms":5}"#,
            200,
            json!({"component": "a", "bucket": "b"}),
        ),
        ("POST", "/v1/kv/delete", r#"{"bucket":"none","key":"k"}"#, 404, json!({"error": "none"})),
        ("POST", "/v1/kv/delete", r#"{"bucket":"full","key":"k"}"#, 422, json!({"error": "full"})),
    ] {
        assert_eq!(world.ask(method, path, body).await, (status, expected), "{path}");
    }
    assert_eq!(
        world.host.asked(),
        [
            r#"None b: List { prefix: "", cursor: None, limit: None }"#,
            r#"None b: Get("k")"#,
            r#"Some("a") b: Set("k", [118], Some(5ms))"#,
            r#"None none: Delete("k")"#,
            r#"None full: Delete("k")"#,
        ]
    );
}

#[tokio::test]
async fn what_is_malformed_or_unknown_is_refused_and_does_not_reach_the_host() {
    let world = world("refusals");
    let long = format!(r#"{{"path":"/{}"}}"#, "x".repeat(LARGEST_BODY));
    let large = format!(r#"{{"value_base64":"{}"}}"#, "A".repeat(LARGEST_SET));
    for (method, path, body, status, says) in [
        ("POST", "/v1/stop", "now", 400, "JSON object"),
        ("POST", "/v1/stop", "[true,true]", 400, "JSON object"),
        ("POST", "/v1/stop", "{\"now\":", 400, "the body"),
        ("POST", "/v1/stop", r#"{"now":"yes"}"#, 400, "boolean"),
        ("POST", "/v1/stop", r#"{"quickly":true}"#, 400, "quickly"),
        ("POST", "/v1/swap", "", 400, "path"),
        ("POST", "/v1/swap", r#"{"path":"new.wasm"}"#, 400, "absolute"),
        ("POST", "/v1/reload", r#"{"force":1}"#, 400, "force"),
        ("POST", "/v1/swap", &long, 413, "65536"),
        ("POST", "/v1/kv/get", r#"{"bucket":"b"}"#, 400, "key"),
        ("POST", "/v1/kv/get", &long, 413, "65536"),
        ("POST", "/v1/kv/list", r#"{"bucket":"b","all":true}"#, 400, "all"),
        (
            "POST",
            "/v1/kv/set",
            r#"{"bucket":"b","key":"k","value_base64":"*"}"#,
            400,
            "value_base64",
        ),
        ("POST", "/v1/kv/set", &large, 413, "bytes"),
        ("GET", "/v1/stop", "", 405, "POST"),
        ("POST", "/v1/status", "", 405, "GET"),
        ("GET", "/", "", 404, "GET /v1/status"),
        ("GET", "/v2/status", "", 404, "POST /v1/stop"),
    ] {
        let (code, answer) = world.ask(method, path, body).await;
        let error = answer["error"].as_str().unwrap();
        assert_eq!(code, status, "{method} {path} {error}");
        assert!(error.contains(says), "{method} {path}: {error}");
    }
    let answer = world.send("DELETE", "/v1/swap", "").await;
    assert_eq!(answer.headers()["allow"], "POST");
    assert_eq!(world.host.asked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_a_408_in_time() {
    let world = world("body");
    let mut peer = world.raw().await;
    let head = b"POST /v1/stop HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{";
    peer.write_all(head).await.unwrap();
    let began = tokio::time::Instant::now();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(began.elapsed(), REQUEST_IN);
    assert_eq!(world.host.asked(), [""; 0]);
}

#[tokio::test]
async fn a_command_that_panics_is_a_500_and_the_server_goes_on() {
    let world = world("panic");
    let (code, answer) = world.ask("POST", "/v1/swap", r#"{"path":"/panic"}"#).await;
    assert_eq!(code, 500, "{answer}");
    let (code, _) = world.ask("GET", "/v1/status", "").await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn what_is_no_http_is_told_so_and_the_server_goes_on() {
    let world = world("garbage");
    let mut peer = world.raw().await;
    peer.write_all(b"\x16\x03\x01 hello\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(world.ask("GET", "/v1/status", "").await.0, 200);
}

#[tokio::test]
async fn a_stop_is_followed_to_the_line_that_says_how_it_ended() {
    let world = world("follow");
    let mut answer = world.send("POST", "/v1/stop", r#"{"follow":true}"#).await;
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let first = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    let first: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(first["phase"], "draining");
    let ended = StopEnd { exit: 1, report: "stopped".into() };
    world.host.ended.send_replace(Some(ended));
    let rest = answer.into_body().collect().await.unwrap().to_bytes();
    let last: Value =
        serde_json::from_slice(rest.trim_ascii_end().rsplit(|b| *b == b'\n').next().unwrap())
            .unwrap();
    assert_eq!(last, json!({"exit": 1, "report": "stopped"}));
}

#[tokio::test]
async fn end_waits_for_the_client_that_follows_the_stop_and_for_no_other() {
    let world = world("close");
    let idle = world.raw().await;
    let answer = world.send("POST", "/v1/stop", r#"{"follow":true}"#).await;
    let World { host, server } = world;
    let path: PathBuf = server.path().to_owned();
    host.ended.send_replace(Some(StopEnd { exit: 0, report: "stopped".into() }));
    // Far longer than the test may take: it has to end by the connection's end.
    let closed = tokio::task::spawn_blocking(move || server.close(Duration::from_secs(600)));
    let lines = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(lines.ends_with(b"{\"exit\":0,\"report\":\"stopped\"}\n"));
    closed.await.unwrap();
    assert!(!path.exists(), "its path is removed");
    drop(idle);
}

#[tokio::test]
async fn a_follower_that_does_not_leave_holds_the_end_no_longer_than_it_may() {
    let world = world("held");
    let answer = world.send("POST", "/v1/stop", r#"{"follow":true}"#).await;
    let server = world.server;
    // The host never says how it ended.
    let close = move || server.close(Duration::from_millis(50));
    tokio::task::spawn_blocking(close).await.unwrap();
    assert!(answer.into_body().collect().await.is_err(), "broken off, not ended");
}

/// They waited for each other, and a client that was idle, or sent half a request, kept the owner out.
#[tokio::test(start_paused = true)]
async fn one_operator_too_many_turns_out_the_one_that_is_idle_longest() {
    let world = world("places");
    let mut full = Vec::new();
    for _ in 0..MOST_CONNECTIONS {
        let mut peer = world.raw().await;
        peer.write_all(b"GET /v1/status HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        peer.read_u8().await.unwrap();
        full.push(peer);
    }
    let mut late = world.raw().await;
    late.write_all(b"GET /v1/status HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(late.read_u8().await.unwrap(), b'H');
    let mut first = full.remove(0);
    let mut rest = Vec::new();
    // Whatever is left of its answer, then the end.
    timeout(IDLE / 2, first.read_to_end(&mut rest)).await.expect("it is turned out").unwrap();
    let mut second = full.remove(0);
    second.write_all(b"GET /v1/status HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(second.read_u8().await.is_ok(), "the others stay");
}

/// The canary of generation 2, under way or with this end.
fn canary(end: Option<&str>) -> CanaryStatus {
    let end = end.map(|why| json!({"promoted": false, "why": why, "ago_ms": 0}));
    let traffic = json!({"requests": 1, "errors": 0, "p99_ms": 1.5});
    let status = json!({
        "component": "app", "from": 1, "to": 2, "share": "1%", "step": 1, "steps": 5, "left_ms": 9,
        "waits_for": null, "old": traffic, "new": traffic, "end": end,
    });
    serde_json::from_value(status).unwrap()
}

#[tokio::test]
async fn a_swap_is_followed_until_its_canary_has_ended() {
    let world = world("canary");
    *world.host.canaries.lock().unwrap() = vec![canary(None)];
    let swap = r#"{"path":"/canary","follow":true}"#;
    let answer = world.send("POST", "/v1/swap", swap).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        text += std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap();
        // It has been seen under way.
        if text.contains("\"end\":null") {
            *world.host.canaries.lock().unwrap() = vec![canary(Some("it is bad"))];
        }
    }
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["outcome"], "canary");
    let ended = lines.iter().filter(|line| line["end"]["why"] == "it is bad").count();
    assert_eq!((ended, &lines.last().unwrap()["end"]["promoted"]), (1, &json!(false)));

    // What begins no canary has one line, and a refusal is one as ever.
    let (code, answer) = world.ask("POST", "/v1/swap", r#"{"path":"/a","follow":true}"#).await;
    assert_eq!((code, &answer["outcome"]), (200, &json!("swapped")));
    let (code, _) = world.ask("POST", "/v1/swap", r#"{"path":"/bad","follow":true}"#).await;
    assert_eq!(code, 422);
    let answer = world.send("POST", "/v1/canaries/follow", "").await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(body.is_empty(), "none is under way");
}
