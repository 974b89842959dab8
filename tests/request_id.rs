//! `x-request-id` on answers of the host, so that a user's report leads to the lines of the log; and the trace that
//! guests see.

use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::upstream::Upstream;
use crate::support::wire;

/// The answer to this request, on a connection of its own.
fn ask(host: &Host, request: impl AsRef<[u8]>) -> Response {
    let mut conn = host.connect();
    conn.send(request.as_ref()).unwrap();
    conn.read_response("GET").unwrap()
}

fn id(answer: &Response) -> &str {
    answer.head.header("x-request-id").unwrap_or_else(|| panic!("no id: {answer}"))
}

#[test]
fn a_request_that_is_refused_is_told_its_id_and_the_log_says_the_same() {
    let host = Host::serve("trap_p2").start();
    let answer = host.get("/");
    assert_eq!(answer.status(), 500);
    let line = host.wait_log("guest failed");
    assert!(line.contains(&format!("request_id={}", id(&answer))), "{line}\n{answer}");
    let other = host.get("/");
    assert_ne!(id(&answer), id(&other), "each request has one of its own");
}

#[test]
fn an_id_that_the_client_has_sent_is_taken_over_if_it_is_sane() {
    let host = Host::serve("trap_p2").start();
    let with = |sent: &str| {
        ask(&host, wire::get("/").replace("Host:", &format!("X-Request-Id: {sent}\r\nHost:")))
    };
    assert_eq!(id(&with("7b1c-42.a")), "7b1c-42.a");
    let long = "x".repeat(129);
    for insane in ["a b", "a\"b", "<script>", "\u{e9}", &long] {
        let answer = with(insane);
        let told = id(&answer);
        assert!(told.len() == 16 && told.bytes().all(|it| it.is_ascii_hexdigit()), "{answer}");
    }
}

/// The host answers some requests before they are one: those have an id as well.
#[test]
fn every_answer_of_the_host_has_an_id() {
    let site = Site::new(
        "[component.app]\nsource = \"guest:hello_p2\"\n[[route]]\npath = \"/app\"\ncomponent = \"app\"\n",
    );
    let host = site.serve().start();
    for (request, status) in [
        (wire::get("/nowhere"), 404),
        ("GET /app HTTP/1.1\r\n\r\n".into(), 400),
        ("TRACE /app HTTP/1.1\r\nHost: a\r\n\r\n".into(), 405),
        (
            "GET /app HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".into(),
            400,
        ),
        ("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n".into(), 413),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".into(), 204),
    ] {
        let answer = ask(&host, &request);
        assert_eq!(answer.status(), status, "{request}");
        id(&answer);
    }
    let mut h2 = H2::connect(host.addr());
    h2.get(1, "/nowhere");
    let answer = h2.expect_answer(1);
    assert!(answer.headers.iter().any(|(name, _)| name == "x-request-id"), "{answer:?}");
}

/// A guest's own answer is the guest's, to the byte.
#[test]
fn an_answer_of_a_guest_has_no_id_of_ours() {
    let host = Host::serve("hello_p2").start();
    assert_eq!(host.get("/").head.header("x-request-id"), None);
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The trace that is told in a `traceparent`, and its sender.
fn parts(told: &str) -> (&str, &str) {
    let mut parts = told.split('-').skip(1);
    (parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn a_trace_goes_through_a_chain_and_out() {
    for kind in ["p2", "p3"] {
        let upstream = Upstream::start();
        let port = upstream.port();
        let site = Site::new(&format!(
            "[component.pass]\nsource = \"guest:pass_{kind}\"\n\
             [component.app]\nsource = \"guest:info_{kind}\"\n\
             [component.out]\nsource = \"guest:grants_{kind}\"\n\
             [component.out.grants]\noutgoing = [\"http://127.0.0.1:{port}\"]\n\
             outgoing-addresses = [\"loopback\"]\n\
             [[route]]\npath = \"/\"\ncomponent = \"app\"\nchain = [\"pass\"]\n\
             [[route]]\npath = \"/fetch\"\ncomponent = \"out\"\n"
        ));
        let host = site.serve().start();
        let sent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\nHost:");
        let text = ask(&host, wire::get("/x").replace("Host:", &sent)).text();
        let told = text.lines().find_map(|line| line.strip_prefix("header.traceparent: "));
        let (trace, sender) = parts(told.unwrap_or_else(|| panic!("no traceparent: {text}")));
        assert_eq!(trace, TRACE, "{kind}");
        assert_ne!(sender, "00f067aa0ba902b7", "the host has a span of its own");
        let fetch = format!("/fetch?url=http://127.0.0.1:{port}/");
        ask(&host, wire::get(&fetch).replace("Host:", &sent));
        let head = upstream.heads().remove(0).to_ascii_lowercase();
        assert!(head.contains(&format!("traceparent: 00-{TRACE}-")), "{kind}: {head}");
        assert!(!head.contains("00f067aa0ba902b7"), "{kind}: {head}");
    }
}

/// The state of a trace went on with another trace, where the client's `traceparent` could not be read.
#[test]
fn a_state_without_its_trace_reaches_no_guest() {
    let host = Host::serve("info_p2").start();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (traces, reaches) in [
        (format!("traceparent: {parent}\r\n"), true),
        (String::new(), false),
        ("traceparent: 00-4bf9\r\n".into(), false),
        (format!("traceparent: {parent}\r\ntraceparent: {parent}\r\n"), false),
    ] {
        let head = format!("{traces}tracestate: vendor=opaque\r\nHost:");
        let told = ask(&host, wire::get("/").replace("Host:", &head)).text();
        assert_eq!(told.contains("header.tracestate: vendor=opaque"), reaches, "{told}");
        assert_eq!(told.matches("header.traceparent: ").count(), 1, "{told}");
    }
}
