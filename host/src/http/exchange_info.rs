//! What an exchange is called, and what is known of it while it is in flight.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use host_telemetry::{
    Agent, RequestId, RequestLine, RouteLabel, StageRecord, Stages, TRACESTATE, TraceContext,
};
use http::{HeaderMap, Request};
use tokio::time::Instant;

use super::client::RequestClient;
use crate::component::ServedExchange;

/// What an exchange is called in logs and among the survivors of a drain, and what is known of it so far. The same of
/// a part of one, behind a plugin.
#[derive(Debug)]
pub(super) struct ExchangeInfo {
    pub(super) line: RequestLine,
    pub(super) began: Instant,
    pub(super) request_id: RequestId,
    pub(super) trace: TraceContext,
    /// The span of its stage, which its guest knows: that of a part is the part's own.
    pub(super) stage: TraceContext,
    /// Of an exchange; a part has none of its own.
    client: RequestClient,
    /// A random number of its connection.
    connection: u64,
    agent: Option<Box<Agent>>,
    /// The exchange that it is a part of, in a chain.
    around: Option<Arc<Self>>,
    /// Set once it is in flight.
    number: OnceLock<u64>,
    route: OnceLock<&'static RouteLabel>,
    /// The number of the generation, once it has an instance: a request that waits for one may get one of a
    /// newer generation. 0 before that, which no generation has.
    generation: AtomicU64,
    /// Nanoseconds of CPU time of the guest at work.
    cpu: AtomicU64,
    /// Stages that have ended, of the exchange and of all its parts.
    stages: Mutex<Stages>,
}

impl ExchangeInfo {
    /// That of a request of this client, on the connection with this random number, with the headers that an observer
    /// wants.
    pub(super) fn new<B>(
        request: &Request<B>,
        began: Instant,
        client: RequestClient,
        (connection, agent): (u64, Option<Box<Agent>>),
    ) -> Self {
        let trace = TraceContext::of(request.headers()).decided();
        let stage = if trace.is_recorded() { trace.child() } else { trace };
        let request_id = RequestId::of(request.headers(), trace.span);
        let base = Self::with((request_line(request), began), (request_id, trace), None);
        Self { client, connection, agent, stage, ..base }
    }

    /// That of a request which a plugin passed on, in the exchange `around` it.
    pub(super) fn part<B>(request: &Request<B>, began: Instant, around: Arc<Self>) -> Self {
        let trace = around.stage.onward(request.headers());
        let ids = (around.request_id.clone(), trace);
        let connection = around.connection;
        Self { connection, ..Self::with((request_line(request), began), ids, Some(around)) }
    }

    fn with(
        (line, began): (RequestLine, Instant),
        (request_id, trace): (RequestId, TraceContext),
        around: Option<Arc<Self>>,
    ) -> Self {
        Self {
            line,
            began,
            request_id,
            trace,
            stage: trace,
            client: RequestClient::default(),
            connection: 0,
            agent: None,
            around,
            number: OnceLock::new(),
            route: OnceLock::new(),
            generation: AtomicU64::new(0),
            cpu: AtomicU64::new(0),
            stages: Mutex::default(),
        }
    }

    /// It is in flight under this number, unless it is a part of another.
    pub(super) fn set_number(&self, number: u64) {
        // It is in flight once.
        self.number.set(number).ok();
    }

    /// What the log calls it: in a chain, all parts go by the exchange that they are of. None for what never was one.
    pub(super) fn number(&self) -> Option<u64> {
        self.whole().number.get().copied()
    }

    /// The exchange, as the instance that serves it is told.
    pub(super) fn served(&self) -> Option<ServedExchange> {
        Some(ServedExchange { number: self.number()?, trace: self.stage })
    }

    /// Writes its trace into the headers for its guest. Where the client has named none that could be read, its
    /// `tracestate` is of another one (W3C Trace Context §4.3).
    pub(super) fn write_trace(&self, headers: &mut HeaderMap) {
        if self.trace.parent.is_none() {
            headers.remove(TRACESTATE);
        }
        self.stage.write(headers);
    }

    /// Who sent it: that of a part is the client of the exchange.
    pub(super) fn client(&self) -> &RequestClient {
        &self.whole().client
    }

    /// A random number of its connection.
    pub(super) fn connection(&self) -> u64 {
        self.connection
    }

    /// Whether a plugin has passed it on.
    pub(super) fn is_part(&self) -> bool {
        self.around.is_some()
    }

    /// It has taken this route.
    pub(super) fn set_route(&self, route: &'static RouteLabel) {
        // One that is routed a second time, when its body is here, takes the route that there was.
        self.route.set(route).ok();
    }

    /// The route that it has taken.
    pub(super) fn route(&self) -> Option<&'static RouteLabel> {
        self.whole().route.get().copied()
    }

    /// It has an instance of this generation, or has lost the one that it had.
    pub(super) fn set_generation(&self, generation: Option<u64>) {
        self.generation.store(generation.unwrap_or(0), Ordering::Relaxed);
    }

    /// The generation of its instance, if it has one.
    pub(super) fn generation(&self) -> Option<u64> {
        Some(self.generation.load(Ordering::Relaxed)).filter(|generation| *generation != 0)
    }

    /// The guest at work has used so much CPU time.
    pub(super) fn set_cpu(&self, cpu: Duration) {
        self.cpu.store(u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// CPU time of the guest at work.
    pub(super) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu.load(Ordering::Relaxed))
    }

    /// A stage has ended. One that ends after the exchange around it is told to nobody.
    pub(super) fn add_stage(&self, stage: StageRecord) {
        let mut stages = self.whole().stages.lock().unwrap_or_else(PoisonError::into_inner);
        if stages.len() < STAGES {
            stages.push(stage);
        }
    }

    /// The stages that have ended.
    pub(super) fn take_stages(&self) -> Stages {
        std::mem::take(&mut *self.stages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was asked, for a line of the log.
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked(&self.line)
    }

    /// The headers of the client that an observer wants.
    pub(super) fn agent(&self) -> Option<&Agent> {
        self.agent.as_deref()
    }

    /// The exchange that it is, or is a part of.
    fn whole(&self) -> &Self {
        let mut whole = self;
        while let Some(around) = &whole.around {
            whole = around;
        }
        whole
    }
}

fn request_line<B>(request: &Request<B>) -> RequestLine {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    RequestLine { method, uri, version: request.version() }
}

/// Stages that a record holds: a plugin may pass on many times.
const STAGES: usize = 64;

/// Bytes of a method or a path in a line of the log: a plugin can make either as long as it likes.
const SHOWN: usize = 256;

/// The beginning of a text, with a sign where there is more of it.
fn cut(text: &str) -> (&str, &'static str) {
    let end = text.floor_char_boundary(SHOWN);
    text.split_at_checked(end)
        .filter(|(_, rest)| !rest.is_empty())
        .map_or((text, ""), |it| (it.0, "…"))
}

/// What was asked, in a line whose fields say the rest: `GET /cart`.
pub(super) struct Asked<'a>(&'a RequestLine);

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestLine { method, uri, .. } = self.0;
        let path = uri.path_and_query().map_or("*", |path| path.as_str());
        let ((method, more), (path, on)) = (cut(method.as_str()), cut(path));
        write!(f, "{method}{more} {path}{on}")
    }
}

impl fmt::Display for ExchangeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.asked().fmt(f)?;
        if let (true, Some(exchange)) = (self.is_part(), self.number()) {
            write!(f, " of exchange={exchange}")?;
        }
        self.generation().map_or(Ok(()), |generation| write!(f, " generation={generation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(path: &str) -> ExchangeInfo {
        let request = Request::builder().uri(path).body(()).unwrap();
        ExchangeInfo::new(&request, Instant::now(), RequestClient::default(), (7, None))
    }

    /// A plugin could pass on a path of 64 KiB, and a line of the log was as long.
    #[test]
    fn a_long_path_is_cut() {
        let info = |path: &str| info(path).to_string();
        let shown = format!("/{}", "x".repeat(SHOWN - 1));
        assert_eq!(info(&shown), format!("GET {shown}"));
        assert_eq!(info(&format!("{shown}x")), format!("GET {shown}…"));
        assert_eq!(info(&format!("/{}", "é".repeat(SHOWN))).len(), "GET /…".len() + SHOWN - 2);
    }

    #[test]
    fn parts_go_by_the_exchange_around_them() {
        let whole = Arc::new(info("/"));
        whole.set_number(7);
        let request = Request::builder().uri("/behind").body(()).unwrap();
        let part = ExchangeInfo::part(&request, Instant::now(), whole.clone());
        assert_eq!((part.number(), part.trace.trace), (Some(7), whole.trace.trace));
        assert_eq!(part.to_string(), "GET /behind of exchange=7");
    }
}
