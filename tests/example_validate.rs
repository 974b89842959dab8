//! The plugin `validate` of `guest/examples`: bodies by a JSON Schema.

use serde_json::{Value, json};

use crate::support::chain::Chain;
use crate::support::prelude::*;
use crate::support::wire;

const SCHEMA: &str = r##"{
    "type": "object", "required": ["name", "items"], "additionalProperties": false,
    "properties": {
        "name": { "type": "string", "pattern": "^[a-z]+$" },
        "items": { "type": "array", "items": { "$ref": "#/$defs/item" } },
        "mail": { "type": "string", "format": "email" }
    },
    "$defs": { "item": { "type": "object", "properties": { "price": { "type": "number", "minimum": 0 } } } }
}"##;

fn chain() -> Chain {
    Chain::new(&["validate_p3"], "echo_p3")
        .say("one", &format!("config.schema = '''{SCHEMA}'''\nconfig.max-body = \"1000\""))
}

#[track_caller]
fn send(host: &Host, method: &str, fields: &str, body: &[u8]) -> Response {
    let mut conn = host.connect();
    let head =
        format!("{method} / HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
    conn.send([head.as_bytes(), body].concat()).unwrap();
    conn.read_response(method).unwrap()
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn validate_passes_good_bodies_on_byte_by_byte_and_names_what_is_wrong_in_others() {
    let host = chain().start();
    let body = " {\"items\" : [ {\"price\": 1.50}],\n \"name\":\"\\u0061bc\" } ";
    for method in ["POST", "PUT", "PATCH"] {
        let answer = send(&host, method, JSON, body.as_bytes());
        assert_eq!((answer.status(), answer.text().as_str()), (200, body), "{method}");
    }
    let body = br#"{"name":"A","items":[{"price":1},{"price":-1},{"price":"x"}],"more":1}"#;
    let answer = send(&host, "POST", JSON, body);
    assert_eq!(answer.status(), 422);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_str(&answer.text()).expect("JSON");
    assert_eq!(problem["status"], json!(422));
    let errors = problem["errors"].as_array().expect("a list");
    let mut places: Vec<_> = errors.iter().map(|error| error["at"].as_str().unwrap()).collect();
    places.sort_unstable();
    assert_eq!(places, ["", "/items/1/price", "/items/2/price", "/name"], "{problem}");
    assert!(errors.iter().all(|error| !error["why"].as_str().unwrap().is_empty()));
}

#[test]
fn validate_refuses_what_is_no_json_or_too_long_or_of_another_type() {
    let host = chain().start();
    let deep = format!("{}{}", "[".repeat(400), "]".repeat(400));
    let long = format!("\"{}\"", "x".repeat(2000));
    let good = r#"{"name":"a","items":[]}"#;
    for (fields, body, status) in [
        (JSON, "", 400),
        (JSON, "{", 400),
        (JSON, "{} {}", 400),
        (JSON, "{\"a\":NaN}", 400),
        (JSON, "{\"a\":1e999}", 400),
        (JSON, r#"{"name":"a","items":[],"name":"b"}"#, 400),
        (JSON, r#"{"name":"a","items":[{"price":1,"\u0070rice":-1}]}"#, 400),
        (JSON, &deep, 400),
        (JSON, &long, 413),
        ("", good, 415),
        ("Content-Type: text/plain\r\n", good, 415),
        ("Content-Type: application/json; charset=latin1\r\n", good, 415),
        ("Content-Type: application/json\r\nContent-Encoding: gzip\r\n", good, 415),
        ("Content-Type: Application/JSON; charset=\"UTF-8\"\r\n", good, 200),
        (JSON, "[]", 422),
    ] {
        let answer = send(&host, "POST", fields, body.as_bytes());
        assert_eq!(answer.status(), status, "{fields:?} {body}: {}", answer.text());
        if status != 200 {
            let kind = answer.header("content-type");
            assert_eq!(kind, Some("application/problem+json"), "{fields:?} {body}");
        }
    }
    assert_eq!(send(&host, "POST", JSON, b"\"\xff\"").status(), 400, "no UTF-8");
    assert_eq!(host.get("/").status(), 200, "a request without a body that is looked at");
    assert_eq!(send(&host, "DELETE", "", b"anything").text(), "anything");
}

#[test]
fn validate_bounds_what_it_answers() {
    let host = chain().say("one", "config.max-errors = \"3\"").start();
    let items: Vec<String> = (0..20).map(|_| "{\"price\":-1}".into()).collect();
    let body = format!("{{\"name\":\"a\",\"items\":[{}]}}", items.join(","));
    let answer = send(&host, "POST", JSON, body.as_bytes());
    let problem: Value = serde_json::from_str(&answer.text()).expect("JSON");
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(3));
    assert_eq!(problem["more"], json!(true));
    let body = format!("{{\"name\":\"a\",\"items\":[],\"{}\":1}}", "é".repeat(400));
    let answer = send(&host, "POST", JSON, body.as_bytes());
    assert_eq!(answer.status(), 422);
    assert!(answer.text().len() < 1000, "{} bytes", answer.text().len());
}

#[test]
fn validate_checks_formats_where_it_is_told_to() {
    let body = br#"{"name":"a","items":[],"mail":"nobody"}"#;
    for (formats, status) in [("false", 200), ("true", 422)] {
        let host = chain().say("one", &format!("config.formats = {formats:?}")).start();
        assert_eq!(send(&host, "POST", JSON, body).status(), status, "{formats}");
    }
}

/// Chunked bodies have no length that could be refused first; and one that breaks off is none.
#[test]
fn validate_reads_a_body_without_a_length_to_its_end() {
    let host = chain().start();
    let begin = "POST / HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut conn = host.connect();
    conn.send(begin).unwrap();
    for piece in ["{\"name\":\"a\",", "\"items\":[]}"] {
        assert!(conn.is_quiet(), "it answers before the body has ended");
        conn.send(wire::chunk(piece)).unwrap();
    }
    conn.send(wire::LAST_CHUNK).unwrap();
    let answer = conn.read_response("POST").unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "{\"name\":\"a\",\"items\":[]}"));

    let mut conn = host.connect();
    conn.send(begin).unwrap();
    conn.send(wire::chunk("x".repeat(1001))).unwrap();
    assert_eq!(conn.read_head().unwrap().status, 413);

    let mut conn = host.connect();
    conn.send(begin).unwrap();
    conn.send(wire::chunk("{\"name\":\"a\",\"items\":[]}")).unwrap();
    conn.half_close();
    let (rest, _) = conn.expect_reset_or_eof();
    assert!(!String::from_utf8_lossy(&rest).contains(" 200 "), "half a body passed");
}
