//! A collector of spans: a server that takes OTLP over HTTP, in its JSON form.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::PATIENCE;

/// A span as it came.
#[derive(Clone, Debug)]
pub struct Span {
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub kind: u64,
    pub start: u64,
    pub end: u64,
    pub failed: bool,
    /// All values as text.
    pub attributes: BTreeMap<String, String>,
}

/// A collector on a loopback address. It answers with this status, after it has kept the spans. Its thread ends with the
/// test.
#[derive(Clone, Debug)]
pub struct Collector {
    addr: SocketAddr,
    spans: Arc<(Mutex<Vec<Span>>, Condvar)>,
}

impl Collector {
    /// One that answers every request with this status.
    pub fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has room");
        let addr = listener.local_addr().expect("it is bound");
        let spans = Arc::<(Mutex<Vec<Span>>, Condvar)>::default();
        let theirs = spans.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A host that ends breaks its connection off.
                serve(stream, status, &theirs).ok();
            }
        });
        Self { addr, spans }
    }

    /// What `--otlp-endpoint` takes.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Waits until there is a span with this name, and returns all that have come.
    #[track_caller]
    pub fn wait(&self, name: &str) -> Vec<Span> {
        let until = Instant::now() + PATIENCE;
        let (spans, came) = &*self.spans;
        let mut spans = spans.lock().expect("no one panics with it");
        while !spans.iter().any(|span| span.name == name) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no span {name:?} in {spans:#?}");
            (spans, _) = came.wait_timeout(spans, left).expect("as above");
        }
        spans.clone()
    }

    /// The spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.0.lock().expect("no one panics with it").clone()
    }
}

fn serve(
    mut stream: TcpStream,
    status: u16,
    spans: &(Mutex<Vec<Span>>, Condvar),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    let is_of_otlp = line.starts_with("POST /v1/traces ");
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let lower = line.to_lowercase();
        if let Some(bytes) = lower.strip_prefix("content-length:") {
            length = bytes.trim().parse().expect("a number");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if is_of_otlp {
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        spans.0.lock().expect("no one panics with it").extend(read(&body));
        spans.1.notify_all();
    }
    write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}")
}

fn read(body: &Value) -> Vec<Span> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| text(value).parse().expect("a number as text");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let scopes = list(&body["resourceSpans"]).into_iter().flat_map(|it| list(&it["scopeSpans"]));
    let spans = scopes.flat_map(|scope| list(&scope["spans"]));
    let attribute = |it: &Value| {
        let value = it["value"].as_object().and_then(|value| value.values().next().cloned());
        let value = value.unwrap_or_default();
        (text(&it["key"]), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    spans
        .map(|span| Span {
            name: text(&span["name"]),
            trace: text(&span["traceId"]),
            id: text(&span["spanId"]),
            parent: text(&span["parentSpanId"]),
            kind: span["kind"].as_u64().expect("a kind"),
            start: number(&span["startTimeUnixNano"]),
            end: number(&span["endTimeUnixNano"]),
            failed: span["status"]["code"] == 2,
            attributes: list(&span["attributes"]).iter().map(attribute).collect(),
        })
        .collect()
}
