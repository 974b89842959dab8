//! Lines for every way in which an exchange can end, with hostile words in all places.

use std::fs;

use host_telemetry::{
    Agent, End, RequestId, RequestLine, RouteLabel, StageRecord, Stages, TraceContext,
};
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use serde_json::{Value, json};

use super::*;
use crate::writer::LONGEST_LINE;

const TRACE: TraceContext = TraceContext {
    trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
    span: 0x00f0_67aa_0ba9_02b7,
    parent: None,
    flags: 0,
};

/// Records borrow what they tell of.
fn kept<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn record() -> ExchangeRecord<'static> {
    let millis = Duration::from_millis;
    let stage = |component, generation, is_plugin, status, queue| StageRecord {
        component,
        generation: Some(generation),
        is_plugin,
        after: Duration::ZERO,
        queue: millis(queue),
        head: Some(millis(3)),
        took: millis(5),
        cpu: millis(2),
        status: StatusCode::from_u16(status).ok(),
        end: End::Finished,
    };
    ExchangeRecord {
        number: Some(7),
        request_id: kept(RequestId::made(7)),
        trace: TRACE,
        client: "2001:db8::1".parse().ok(),
        peer: "[2001:db8::1]:54321".parse().ok(),
        request: Some(kept(RequestLine {
            method: Method::POST,
            uri: Uri::from_static("http://shop.example:8080/cart/1?token=secret"),
            version: Version::HTTP_11,
        })),
        agent: Some(kept(Agent {
            user_agent: Some(HeaderValue::from_static("curl/8.5 \"x\"")),
            referer: Some(HeaderValue::from_static("https://shop.example/")),
        })),
        began: Instant::now(),
        took: Duration::from_micros(12_345),
        head: Some(Duration::from_micros(7_001)),
        status: Some(StatusCode::OK),
        received: 12,
        sent: 345,
        route: Some(kept(RouteLabel {
            id: 0,
            pattern: "shop.example/cart/".into(),
            component: "shop",
        })),
        stages: Stages::from_iter([
            stage("shop", 3, false, 200, 1),
            stage("auth", 2, true, 200, 0),
        ]),
        end: End::Finished,
    }
}

/// The lines of these records.
fn lines(records: &[ExchangeRecord<'_>], format: AccessLogFormat, query: bool) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let access = AccessLogTarget::File(path.clone());
    let config = LogConfig { access, access_format: format, query, ..LogConfig::default() };
    let log = AccessLog::open(&config).unwrap().unwrap();
    records.iter().for_each(|record| log.observe(record));
    assert!(log.end(Instant::now() + Duration::from_secs(30)));
    assert_eq!(log.dropped(), 0);
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn json_line(record: &ExchangeRecord<'_>, query: bool) -> Value {
    let lines = lines(std::slice::from_ref(record), AccessLogFormat::Json, query);
    let [line] = &lines[..] else { panic!("{lines:?}") };
    serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))
}

fn combined_line(record: &ExchangeRecord<'_>, query: bool) -> String {
    let mut lines = lines(std::slice::from_ref(record), AccessLogFormat::Combined, query);
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

#[test]
fn json_has_every_field() {
    let mut line = json_line(&record(), false);
    let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
    let time = time.as_str().unwrap();
    assert!(time.len() == "2026-11-29T10:48:30.123456Z".len() && time.ends_with('Z'), "{time}");
    let expected = json!({
        "client.address": "2001:db8::1",
        "client.port": 54321,
        "http.request.method": "POST",
        "url.scheme": "http",
        "server.address": "shop.example",
        "server.port": 8080,
        "url.path": "/cart/1",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
        "http.request.body.size": 12,
        "http.response.body.size": 345,
        "duration": 0.012345,
        "time_to_head": 0.007001,
        "queue_time": 0.001,
        "cpu_time": 0.004,
        "http.route": "shop.example/cart/",
        "component": "shop",
        "generation": 3,
        "plugins": [
            { "component": "auth", "generation": 2, "status": 200, "duration": 0.005, "end": "finished" }
        ],
        "exchange": 7,
        "request_id": "0000000000000007",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": "00f067aa0ba902b7",
        "end": "finished",
    });
    assert_eq!(line, expected);
    assert_eq!(json_line(&record(), true)["url.query"], "token=secret");
}

#[test]
fn combined_is_that_of_apache() {
    let line = combined_line(&record(), false);
    let (before, rest) = line.split_once('[').unwrap();
    let (time, behind) = rest.split_once(']').unwrap();
    assert_eq!(before, "2001:db8::1 - - ");
    assert_eq!(time.len(), "29/Nov/2026:10:48:30 +0000".len());
    assert_eq!(
        behind,
        " \"POST /cart/1 HTTP/1.1\" 200 345 \"https://shop.example/\" \"curl/8.5 \\\"x\\\"\""
    );
    assert!(combined_line(&record(), true).contains("\"POST /cart/1?token=secret HTTP/1.1\""));
}

#[test]
fn a_proxy_is_named_beside_its_client() {
    let proxied = |client: &str| {
        let client = client.parse().ok();
        let peer = "[::ffff:192.0.2.9]:443".parse().ok();
        json_line(&ExchangeRecord { client, peer, ..record() }, false)
    };
    let line = proxied("198.51.100.7");
    assert_eq!((&line["client.address"], line.get("client.port")), (&json!("198.51.100.7"), None));
    assert_eq!(line["network.peer.address"], json!("192.0.2.9"));
    assert_eq!(line["network.peer.port"], json!(443));
    let line = proxied("192.0.2.9");
    assert_eq!(line["client.port"], json!(443));
    assert_eq!(line.get("network.peer.address"), None);
    let line = proxied("unknown");
    assert_eq!((line.get("client.address"), line.get("client.port")), (None, None));
    assert_eq!(line["network.peer.address"], json!("192.0.2.9"));
}

/// A request of which nothing could be read, from a Unix socket.
#[test]
fn what_is_not_known_is_left_out() {
    let unknown = ExchangeRecord {
        number: None,
        client: None,
        peer: None,
        request: None,
        agent: None,
        head: None,
        status: None,
        received: 0,
        sent: 0,
        route: None,
        stages: Stages::new(),
        end: End::Refused("head-too-slow"),
        ..record()
    };
    let line = json_line(&unknown, true);
    let mut keys: Vec<_> = line.as_object().unwrap().keys().collect();
    keys.sort();
    let expected = [
        "duration",
        "end",
        "http.request.body.size",
        "http.response.body.size",
        "reason",
        "request_id",
        "span_id",
        "timestamp",
        "trace_id",
    ];
    assert_eq!(keys, expected);
    assert_eq!((&line["end"], &line["reason"]), (&json!("refused"), &json!("head-too-slow")));
    let line = combined_line(&unknown, true);
    assert!(line.starts_with("- - - [") && line.ends_with("] \"-\" - - \"-\" \"-\""), "{line}");
}

#[test]
fn component_of_a_request_that_came_to_none_is_that_of_its_route() {
    let refused =
        ExchangeRecord { stages: Stages::new(), end: End::Refused("at-limit"), ..record() };
    let line = json_line(&refused, false);
    assert_eq!((&line["component"], line.get("generation")), (&json!("shop"), None));
}

#[test]
fn no_words_of_a_client_break_a_line_or_make_it_longer_than_a_pipe_takes() {
    let long = |letter: &str| letter.repeat(61_440);
    let mut stages = Stages::new();
    for number in 0..200 {
        let mut stage = record().stages[1].clone();
        stage.component = kept(format!("plugin-{number}-{}", long("x")));
        stages.push(stage);
    }
    let uris = [
        format!(
            "http://{}/{}?{}",
            "h".repeat(60_000),
            long("p").split_at(2000).0,
            long("q").split_at(2000).0
        ),
        format!("/{}", "%0a".repeat(20_000)),
        format!("/{}", "ü".repeat(30_000)),
        "/\"},{\"forged\":\"1".into(),
    ];
    let agents = [long("\""), long("a"), "\u{fc}\u{9b}2J".into(), "\t".into()];
    for (uri, agent) in uris.iter().zip(agents) {
        let uri: Uri = uri.parse().unwrap();
        let value = HeaderValue::from_bytes(agent.as_bytes()).unwrap();
        let mut hostile = record();
        hostile.request = Some(kept(RequestLine {
            method: Method::from_bytes("M".repeat(5000).as_bytes()).unwrap(),
            uri,
            version: Version::HTTP_2,
        }));
        hostile.agent = Some(kept(Agent { user_agent: Some(value.clone()), referer: Some(value) }));
        hostile.stages.clone_from(&stages);
        for format in [AccessLogFormat::Json, AccessLogFormat::Combined] {
            let lines = lines(&[record(), hostile.clone(), record()], format, true);
            assert_eq!(lines.len(), 3);
            for line in &lines {
                assert!(line.len() < LONGEST_LINE, "{}", line.len());
                assert!(line.chars().all(|letter| !letter.is_control()), "{line:?}");
                let parsed: Result<Value, _> = serde_json::from_str(line);
                assert_eq!(parsed.is_ok(), format == AccessLogFormat::Json, "{line}");
            }
        }
    }
}

#[test]
fn bytes_that_are_no_text_stand_as_escapes() {
    let mut hostile = record();
    let value = HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    hostile.agent = Some(kept(Agent { user_agent: Some(value), referer: None }));
    assert!(combined_line(&hostile, false).ends_with(" \"-\" \"\\xff\\xfe\""));
}
