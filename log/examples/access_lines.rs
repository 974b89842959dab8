//! Writes so many lines of the access log, for a tool that counts instructions and allocations:
//!
//! ```sh
//! cargo build --release -p host-log --example access_lines
//! for lines in 1000 11000; do
//!     valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/access_lines json $lines
//! done
//! ```
//!
//! The difference is what ten thousand lines cost, with the writer's part.

use std::time::Duration;
use std::{env, io, thread};

use host_log::{AccessLog, outlet};
use host_manifest::{AccessLogFormat, AccessLogTarget, LogConfig};
use host_telemetry::{
    Agent, End, ExchangeRecord, Observer as _, RequestId, RequestLine, RouteLabel, StageRecord,
    Stages, TraceContext,
};
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use tokio::time::Instant;

static ROUTE: std::sync::LazyLock<RouteLabel> = std::sync::LazyLock::new(|| RouteLabel {
    id: 0,
    pattern: "shop.example/cart/*".into(),
    component: "shop",
});

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let format = match args.next().as_deref() {
        Some("combined") => AccessLogFormat::Combined,
        _ => AccessLogFormat::Json,
    };
    let lines = args.next().and_then(|lines| lines.parse().ok()).unwrap_or(1000);
    let path = env::temp_dir().join(format!("access_lines.{}", std::process::id()));
    let access = AccessLogTarget::File(path.clone());
    let config = LogConfig { access, access_format: format, ..LogConfig::default() };
    let Some(log) = AccessLog::open(&config)? else { return Ok(()) };
    let request = RequestLine {
        method: Method::GET,
        uri: Uri::from_static("http://shop.example/cart/1?token=secret"),
        version: Version::HTTP_11,
    };
    let agent = Agent {
        user_agent: Some(HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64) Firefox/140")),
        referer: Some(HeaderValue::from_static("https://shop.example/")),
    };
    let request_id = RequestId::made(0x00f0_67aa_0ba9_02b7);
    let record = ExchangeRecord {
        number: Some(1_234_567),
        request_id: &request_id,
        trace: TraceContext::new(),
        client: "192.0.2.17".parse().ok(),
        peer: "192.0.2.17:54321".parse().ok(),
        request: Some(&request),
        agent: Some(&agent),
        began: Instant::now(),
        took: Duration::from_micros(150),
        head: Some(Duration::from_micros(130)),
        status: Some(StatusCode::OK),
        received: 0,
        sent: 345,
        route: Some(&*ROUTE),
        stages: Stages::from_iter([stage()]),
        end: End::Finished,
    };
    for line in 0..lines {
        log.observe(&record);
        // As many as come in a few turns of the writer, also where a tool makes all of it slow.
        if line % 1000 == 999 {
            thread::sleep(Duration::from_millis(30));
        }
    }
    log.end(Instant::now() + Duration::from_secs(10));
    outlet::complain(&format!("{lines} lines, {} dropped", log.dropped()));
    std::fs::remove_file(path)
}

fn stage() -> StageRecord {
    StageRecord {
        component: "shop",
        generation: Some(3),
        is_plugin: false,
        after: Duration::ZERO,
        queue: Duration::ZERO,
        head: Some(Duration::from_micros(120)),
        took: Duration::from_micros(140),
        cpu: Duration::from_micros(90),
        status: Some(StatusCode::OK),
        end: End::Finished,
    }
}
