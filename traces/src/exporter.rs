//! The thread that sends spans, and the queue before it.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as blocking;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use host_manifest::OtlpEndpoint;
use host_telemetry::{ExchangeRecord, Observer, SpanCounts, SpanFate, SpanRecord, SpanSink};
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::encode::{self, Clock};
use crate::server_span::server_span;

/// Spans that may wait. More are dropped: some megabytes.
const WAITING: usize = 8192;

/// Spans of one request.
const BATCH: usize = 512;

/// The first span of a batch waits this long for others.
const GATHER: Duration = Duration::from_secs(1);

/// From the connection to the end of the collector's answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is read of an answer.
const ANSWER: usize = 64 << 10;

/// That spans are lost is said at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Takes spans, and sends them. Cloning gives another handle.
#[derive(Clone)]
pub struct TraceExporter(Arc<Shared>);

struct Shared {
    queue: Sender<SpanRecord>,
    /// Traces that begin here are sampled if their lower half is below this.
    below: u128,
    counts: SpanCounts,
}

/// Waits for what was recorded. Dropping it gives that up.
pub struct TraceFlush {
    stop: tokio::sync::oneshot::Sender<()>,
    done: blocking::Receiver<()>,
    queue: Sender<SpanRecord>,
    in_hand: Arc<AtomicUsize>,
}

impl TraceExporter {
    /// Sends spans of this service to a collector, from a thread of its own. `ratio` is the part of the traces that
    /// begin here, 0 to 1.
    ///
    /// # Errors
    /// When there is no thread or no runtime for it.
    pub fn start(
        endpoint: OtlpEndpoint,
        ratio: f64,
        (service, version): (&str, &str),
    ) -> io::Result<(Self, TraceFlush)> {
        let (queue, spans) = mpsc::channel(WAITING);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (end, done) = blocking::channel();
        let counts = SpanCounts::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (service, version) = (service.to_owned(), version.to_owned());
        let in_hand = Arc::<AtomicUsize>::default();
        let worker = Worker {
            endpoint,
            service,
            version,
            counts: counts.clone(),
            in_hand: in_hand.clone(),
            last: None,
            lost: 0,
            why: None,
        };
        // Ends when it is stopped, or with the process.
        thread::Builder::new().name("traces".into()).spawn(move || {
            runtime.block_on(worker.run(spans, stopped));
            end.send(()).ok();
        })?;
        let flush = TraceFlush { stop, done, queue: queue.clone(), in_hand };
        let shared = Shared { queue, below: threshold(ratio), counts };
        Ok((Self(Arc::new(shared)), flush))
    }

    /// What has become of the spans that it was handed.
    #[must_use]
    pub fn counts(&self) -> &SpanCounts {
        &self.0.counts
    }
}

/// A number that this part of all 64-bit numbers are below.
fn threshold(ratio: f64) -> u128 {
    let parts = (ratio.clamp(0.0, 1.0) * 1e9).round();
    // Between 0 and 1e9.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
    let parts = parts as u128;
    (parts << 64) / 1_000_000_000
}

impl SpanSink for TraceExporter {
    fn record(&self, span: SpanRecord) {
        if self.0.queue.try_send(span).is_err() {
            self.0.counts.add(SpanFate::QueueFull, 1);
        }
    }

    fn samples(&self, trace: u128) -> bool {
        trace & u128::from(u64::MAX) < self.0.below
    }
}

impl Observer for TraceExporter {
    fn observe(&self, record: &ExchangeRecord<'_>) {
        if record.trace.is_sampled() {
            self.record(server_span(record));
        }
    }
}

impl TraceFlush {
    /// Sends what was recorded, and waits for that so long. What is not sent by then is lost with the process, and the
    /// log says how much that is.
    pub fn flush(self, patience: Duration) {
        let Self { stop, done, queue, in_hand } = self;
        if stop.send(()).is_ok() && done.recv_timeout(patience).is_err() {
            let waiting = queue.max_capacity() - queue.capacity();
            let spans = waiting + in_hand.load(Ordering::Relaxed);
            warn!(spans, "spans are lost: the collector has not taken them within {patience:?}");
        }
    }
}

struct Worker {
    endpoint: OtlpEndpoint,
    service: String,
    version: String,
    counts: SpanCounts,
    /// Spans of the request that is under way.
    in_hand: Arc<AtomicUsize>,
    /// When it was last said that spans are lost, and how many were by then.
    last: Option<Instant>,
    lost: u64,
    /// Why spans were last not taken.
    why: Option<String>,
}

impl Worker {
    async fn run(
        mut self,
        mut spans: Receiver<SpanRecord>,
        mut stopped: tokio::sync::oneshot::Receiver<()>,
    ) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let is_last = tokio::select! {
                _ = &mut stopped => true,
                () = gather(&mut spans, &mut batch) => false,
            };
            if is_last {
                spans.close();
            }
            loop {
                let room = BATCH - batch.len();
                if is_last && room > 0 {
                    spans.recv_many(&mut batch, room).await;
                }
                if batch.is_empty() {
                    break;
                }
                self.send(&batch).await;
                batch.clear();
                if !is_last {
                    break;
                }
            }
            if is_last {
                // There is no later time for it.
                self.last = None;
                self.say(false);
                return;
            }
        }
    }

    async fn send(&mut self, batch: &[SpanRecord]) {
        let body = encode::request(batch, &self.service, &self.version, Clock::now());
        let until = Instant::now() + PATIENCE;
        self.in_hand.store(batch.len(), Ordering::Relaxed);
        let posted = timeout_at(until, post(&self.endpoint, body)).await;
        self.in_hand.store(0, Ordering::Relaxed);
        let why = match posted {
            Ok(Ok(status)) if status.is_success() => None,
            Ok(Ok(status)) => Some(format!("it answered {status}")),
            Ok(Err(why)) => Some(why.to_string()),
            Err(_) => Some(format!("no answer within {PATIENCE:?}")),
        };
        let is_taken = why.is_none();
        let fate = if is_taken { SpanFate::Exported } else { SpanFate::NotTaken };
        self.counts.add(fate, batch.len() as u64);
        self.why = why.or_else(|| self.why.take());
        self.say(is_taken);
    }

    /// Says that spans are lost, if that is not said yet and it is time to; or that it is over, now that some are taken.
    fn say(&mut self, is_taken: bool) {
        let dropped = self.counts.dropped();
        let is_due = self.last.is_none_or(|last| last.elapsed() >= SAY_EVERY);
        let endpoint = &self.endpoint;
        if dropped > self.lost && is_due {
            let spans = dropped - self.lost;
            let why = self.why.take().unwrap_or_else(|| "there were more than can wait".into());
            warn!(%endpoint, spans, why, "spans are lost");
            (self.last, self.lost) = (Some(Instant::now()), dropped);
        } else if is_taken && dropped == self.lost && self.last.take().is_some() {
            info!(%endpoint, "spans are taken again");
        }
    }
}

/// Takes spans until there are as many as one request has, or the first one has waited long enough. Cancel-safe: what it
/// has taken is in `batch`.
async fn gather(spans: &mut Receiver<SpanRecord>, batch: &mut Vec<SpanRecord>) {
    if batch.is_empty() && spans.recv_many(batch, BATCH).await == 0 {
        // Nobody records any more, and nobody has stopped it yet.
        std::future::pending::<()>().await;
    }
    let until = Instant::now() + GATHER;
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        match timeout_at(until, spans.recv_many(batch, room)).await {
            Ok(more) if more > 0 => {}
            Ok(_) | Err(_) => return,
        }
    }
}

type PostError = Box<dyn std::error::Error + Send + Sync>;

/// Posts a body on a connection of its own.
async fn post(endpoint: &OtlpEndpoint, body: Vec<u8>) -> Result<StatusCode, PostError> {
    let stream = TcpStream::connect(endpoint.address()).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(endpoint.path())
        .header(HOST, endpoint.authority())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        Limited::new(answer.into_body(), ANSWER).collect().await?;
        Ok(status)
    };
    let (mut answer, mut connection) = (pin!(answer), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        ended = &mut connection => ended?,
    }
    // It has closed the connection behind its answer.
    answer.await
}

impl fmt::Debug for TraceExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceExporter").field("counts", &self.0.counts).finish_non_exhaustive()
    }
}

impl fmt::Debug for TraceFlush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceFlush").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_part_of_all_traces() {
        for (ratio, sampled) in [(0.0, 0), (0.25, 250), (1.0, 1000), (7.0, 1000)] {
            let below = threshold(ratio);
            let part = (0..1000_u128).filter(|part| (part << 64) / 1000 < below).count();
            assert_eq!(part, sampled, "{ratio}");
        }
    }
}
