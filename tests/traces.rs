//! Traces: taken over, passed on, and exported as spans.

use std::net::TcpListener;

use crate::support::metrics::{self, Metrics};
use crate::support::otlp::{Collector, Span};
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::status::wait_in_flight;
use crate::support::upstream::Upstream;
use crate::support::wire;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A request of this trace, whose sender has sampled it or not.
fn traced(path: &str, flags: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: shop.example\r\ntraceparent: 00-{TRACE}-{PARENT}-{flags}\r\n\
         tracestate: vendor=opaque\r\n\r\n"
    )
}

/// A plugin, and behind it a component that may call this server and has a bucket.
fn chain(port: u16) -> Site {
    Site::new(&format!(
        "[keyvalue.main]\nbackend = \"memory\"\n[component.one]\nsource = \"guest:pass_p2\"\n\
         [component.app]\nsource = \"guest:grants_p2\"\n\
         [component.app.grants]\noutgoing = [\"http://127.0.0.1:{port}\"]\nkeyvalue = {{ own = \"main\" }}\n\
         [[route]]\npath = \"/\"\ncomponent = \"app\"\nchain = [\"one\"]\n"
    ))
}

#[track_caller]
fn answer(host: &Host, request: &str) -> Response {
    let mut conn = host.connect();
    conn.send(request).unwrap();
    conn.read_response("GET").unwrap()
}

/// The one span with this name in the trace.
#[track_caller]
fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let [span] = found[..] else { panic!("one {name:?} in {spans:#?}") };
    assert_eq!(span.trace, TRACE);
    span
}

#[track_caller]
fn expect_within(inner: &Span, outer: &Span) {
    assert_eq!(inner.parent, outer.id, "{inner:?} in {outer:?}");
    assert!(inner.start <= inner.end, "{inner:?}");
    // Both are counted from one moment each.
    let slack = 1_000_000;
    assert!(outer.start <= inner.start + slack, "{inner:?} in {outer:?}");
    assert!(inner.end <= outer.end + slack, "{inner:?} in {outer:?}");
}

#[test]
fn exchange_of_a_chain_is_exported_as_one_trace() {
    let (collector, upstream) = (Collector::start(200), Upstream::start());
    let url = collector.url();
    let host = chain(upstream.port()).serve().args(["--otlp-endpoint", &url]).start();
    let path = format!("/fetch?url=http://127.0.0.1:{}/there", upstream.port());
    assert_eq!(answer(&host, &traced(&path, "01")).status(), 200);
    let spans = collector.wait("GET /*");
    let server = one(&spans, "GET /*");
    assert_eq!((server.parent.as_str(), server.kind, server.failed), (PARENT, 2, false));
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/*"),
        ("url.path", "/fetch"),
        ("server.address", "shop.example"),
        ("network.protocol.version", "1.1"),
        ("host.end", "finished"),
    ] {
        assert_eq!(server.attributes.get(name).map(String::as_str), Some(value), "{server:?}");
    }
    let (plugin, app) = (one(&spans, "one"), one(&spans, "app"));
    expect_within(plugin, server);
    expect_within(app, plugin);
    assert_eq!(app.attributes["host.component"], "app");
    let of = |parent: &Span, name: &str| -> Span {
        let mut found = spans.iter().filter(|span| span.name == name && span.parent == parent.id);
        found.next().unwrap_or_else(|| panic!("no {name:?} in {parent:?}: {spans:#?}")).clone()
    };
    for stage in [plugin, app] {
        for name in ["instantiate", "guest until head", "response body"] {
            expect_within(&of(stage, name), stage);
        }
    }
    let outgoing = one(&spans, "GET");
    expect_within(outgoing, app);
    assert_eq!(outgoing.kind, 3);
    assert_eq!(outgoing.attributes["server.port"], upstream.port().to_string());
    assert_eq!(outgoing.attributes["http.response.status_code"], "200");
    assert!(!outgoing.attributes.values().any(|value| value.contains("there")), "{outgoing:?}");
    let head = upstream.heads()[0].to_lowercase();
    assert!(head.contains(&format!("traceparent: 00-{TRACE}-{}-01", outgoing.id)), "{head}");
    assert!(head.contains("tracestate: vendor=opaque"), "{head}");
}

#[test]
fn operation_on_a_bucket_is_a_span() {
    let collector = Collector::start(200);
    let url = collector.url();
    let host = chain(1).serve().args(["--otlp-endpoint", &url]).start();
    let path = "/kv/set?bucket=own&key=secret&value=v";
    assert_eq!(answer(&host, &traced(path, "01")).text(), "set\n");
    let spans = collector.wait("GET /*");
    let (set, app) = (one(&spans, "keyvalue set"), one(&spans, "app"));
    expect_within(set, app);
    assert_eq!(set.attributes["db.operation.name"], "set");
    assert!(!set.attributes.values().any(|value| value.contains("secret")), "{set:?}");
}

#[test]
fn request_that_waits_for_an_instance_has_a_span_of_that() {
    let collector = Collector::start(200);
    let args = [
        "--otlp-endpoint",
        &collector.url(),
        "--max-instances",
        "1",
        "--queue-timeout",
        "30s",
        "--min-rate",
        "off",
    ];
    let host = Host::serve("gate_p2").args(args).control().start();
    let mut held = host.connect();
    held.send(wire::chunked("/held")).unwrap();
    host.wait_log("gate: started");
    let mut waits = host.connect();
    waits.send(traced("/", "01")).unwrap();
    wait_in_flight(&host, 2);
    held.send(wire::LAST_CHUNK).unwrap();
    assert_eq!(waits.read_response("GET").unwrap().status(), 200);
    let spans = collector.wait("queue");
    let of_trace: Vec<Span> = spans.into_iter().filter(|span| span.trace == TRACE).collect();
    assert!(of_trace.iter().any(|span| span.name == "queue"), "{of_trace:#?}");
}

#[test]
fn failed_exchange_has_a_failed_span() {
    let collector = Collector::start(200);
    let host = Host::serve("trap_p2").args(["--otlp-endpoint", &collector.url()]).start();
    assert_eq!(answer(&host, &traced("/", "01")).status(), 500);
    let spans = collector.wait("GET /*");
    let server = one(&spans, "GET /*");
    assert!(server.failed && server.attributes["host.end"] == "guest-trapped", "{server:?}");
}

/// The sender decides for its own traces, the ratio for those that begin here.
#[test]
fn traces_are_sampled_as_their_senders_say_and_else_by_the_ratio() {
    let collector = Collector::start(200);
    let host = Host::serve("hello_p2")
        .args(["--otlp-endpoint", &collector.url(), "--trace-sample", "0.01%"])
        .start();
    assert_eq!(answer(&host, &traced("/not", "00")).status(), 200);
    assert_eq!(host.get("/nor").status(), 200);
    assert_eq!(answer(&host, &traced("/sampled", "01")).status(), 200);
    let spans = collector.wait("GET /*");
    let paths: Vec<_> = spans.iter().filter_map(|span| span.attributes.get("url.path")).collect();
    assert_eq!(paths, ["/sampled"]);
    let all = Collector::start(200);
    let host = Host::serve("hello_p2").args(["--otlp-endpoint", &all.url()]).start();
    assert_eq!(host.get("/all").status(), 200);
    let spans = all.wait("GET /*");
    assert!(spans.iter().all(|span| span.trace.len() == 32 && span.trace != TRACE), "{spans:#?}");
}

/// A collector that refuses all costs no request, and its losses are said.
#[test]
fn collector_that_fails_holds_up_nobody() {
    let collector = Collector::start(503);
    let host = Host::serve("hello_p2").args(["--otlp-endpoint", &collector.url()]).start();
    for _ in 0..100 {
        assert_eq!(host.get("/").status(), 200);
    }
    let line = host.wait_log("spans are lost");
    assert!(line.contains("it answered 503"), "{line}");
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

/// The spans that one request of these tests leaves.
fn spans_of_a_request() -> usize {
    let collector = Collector::start(200);
    let host = Host::serve("hello_p2").args(["--otlp-endpoint", &collector.url()]).start();
    assert_eq!(host.get("/").status(), 200);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    collector.spans().len()
}

#[test]
fn spans_are_counted_as_exported_or_by_the_reason_why_they_are_lost() {
    let each = spans_of_a_request();
    let requests = |host: &Host, count: usize| {
        let mut conn = host.connect();
        for _ in 0..count {
            assert_eq!(conn.get("/").unwrap().status(), 200);
        }
    };
    let serve = |url: &str| {
        Host::serve("hello_p2").args(["--otlp-endpoint", url]).args(metrics::ARGS).start()
    };
    let lost = |told: &Metrics, reason| told.sum("host_spans_dropped_total", &[("reason", reason)]);
    for (status, fate) in [(200, "exported"), (503, "not-taken")] {
        let collector = Collector::start(status);
        let host = serve(&collector.url());
        requests(&host, 100);
        #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
        let all = (each * 100) as f64;
        let counts = |told: &Metrics| {
            let exported = told.sum("host_spans_exported_total", &[]);
            (exported, lost(told, "not-taken"), lost(told, "queue-full"))
        };
        let wanted = if fate == "exported" { (all, 0.0, 0.0) } else { (0.0, all, 0.0) };
        let told = Metrics::wait(&host, |told| counts(told) == wanted);
        #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
        let came = collector.spans().len() as f64;
        assert_eq!(came, all, "{told:?}");
    }
    // It takes the connection, and never answers: one batch is under way, the queue holds some, and the rest is lost.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = serve(&format!("http://{}", deaf.local_addr().unwrap()));
    let (waiting, batch) = (8192, 512);
    let count = (waiting + 2 * batch) / each + 1;
    requests(&host, count);
    let told = Metrics::wait(&host, |told| lost(told, "queue-full") > 0.0);
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let most = (each * count - waiting) as f64;
    assert!(lost(&told, "queue-full") <= most, "{told:?}");
}

/// One that takes a request and never answers: the spans that the end does not wait for were lost without a word.
#[test]
fn collector_that_hangs_holds_up_no_stop_and_what_is_lost_is_said() {
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hangs.local_addr().unwrap());
    let host = Host::serve("hello_p2").args(["--otlp-endpoint", &url]).start();
    for _ in 0..3 {
        assert_eq!(host.get("/").status(), 200);
    }
    let (_taken, _) = hangs.accept().unwrap();
    assert_eq!(host.get("/late").status(), 200);
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0);
    let told = exit.stderr.lines().find(|line| line.contains("spans are lost"));
    let all = format!(" spans={}", 4 * spans_of_a_request());
    assert!(told.is_some_and(|line| line.contains(&all)), "{}", exit.stderr);
}

/// What ends with the process is sent before it.
#[test]
fn spans_are_flushed_at_a_stop() {
    let collector = Collector::start(200);
    let host = Host::serve("hello_p2").args(["--otlp-endpoint", &collector.url()]).start();
    assert_eq!(host.get("/last").status(), 200);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    let spans = collector.spans();
    assert!(
        spans.iter().any(|span| span.attributes.get("url.path").is_some_and(|it| it == "/last")),
        "{spans:#?}"
    );
}

#[test]
fn endpoint_that_is_none_is_refused() {
    for (url, says) in
        [("https://collector:4318", "plain HTTP only"), ("collector", "not the URL of a collector")]
    {
        let exit = Host::run(["serve", "app.wasm", "--otlp-endpoint", url]);
        exit.expect_code(2);
        assert!(exit.stderr.contains(says), "{}", exit.stderr);
    }
}
