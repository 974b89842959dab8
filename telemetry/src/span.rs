//! Spans: what took how long in a trace. Made only for traces that are sampled, and handed to the one sink of the process.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::trace_context::TraceContext;

/// Which side of a request a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A request that the host serves.
    Server,
    /// A request that a guest sends.
    Client,
    /// Something in between.
    Internal,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// Words.
    Text(Cow<'static, str>),
    /// A number.
    Number(u64),
    /// Seconds.
    Seconds(f64),
}

impl From<&'static str> for AttributeValue {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// One span that has ended.
#[derive(Clone, Debug)]
pub struct SpanRecord {
    /// Its trace, its own number, and that of the span that it is in.
    pub context: TraceContext,
    /// Which side of a request it is.
    pub kind: SpanKind,
    /// What it is called: of few that there are.
    pub name: Cow<'static, str>,
    /// When it began.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
    /// More about it, by OpenTelemetry's names, and `host.…` elsewhere.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// Whether it has failed.
    pub failed: bool,
}

/// Takes spans. Waits for nothing.
pub trait SpanSink: Send + Sync {
    /// A span has ended.
    fn record(&self, span: SpanRecord);

    /// Whether a trace that begins here is sampled.
    fn samples(&self, trace: u128) -> bool;
}

/// What became of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanFate {
    /// The collector has taken it.
    Exported,
    /// More waited than may wait.
    QueueFull,
    /// The collector did not take it, or not in time.
    NotTaken,
}

impl SpanFate {
    /// The word for it in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::QueueFull => "queue-full",
            Self::NotTaken => "not-taken",
        }
    }
}

/// How many spans had which fate. Cloning gives another handle on the same counts.
#[derive(Clone, Debug, Default)]
pub struct SpanCounts(Arc<[AtomicU64; 3]>);

impl SpanCounts {
    /// So many more had this fate.
    pub fn add(&self, fate: SpanFate, spans: u64) {
        self.0[fate as usize].fetch_add(spans, Ordering::Relaxed);
    }

    /// How many had it.
    #[must_use]
    pub fn of(&self, fate: SpanFate) -> u64 {
        self.0[fate as usize].load(Ordering::Relaxed)
    }

    /// Those that the collector does not have.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.of(SpanFate::QueueFull) + self.of(SpanFate::NotTaken)
    }
}

static SINK: OnceLock<Arc<dyn SpanSink>> = OnceLock::new();

/// Has all spans of the process handed to `sink` from now on. The first one stays.
pub fn set_span_sink(sink: Arc<dyn SpanSink>) {
    // A second one would be a second start in one process.
    SINK.set(sink).ok();
}

/// Hands over a span, if there is a sink.
pub fn record_span(span: SpanRecord) {
    if let Some(sink) = SINK.get() {
        sink.record(span);
    }
}

impl TraceContext {
    /// Decides whether it is sampled: as its sender has, or by the ratio of those that begin here.
    #[must_use]
    pub fn decided(mut self) -> Self {
        if self.parent.is_none()
            && let Some(sink) = SINK.get()
            && sink.samples(self.trace)
        {
            self.sample();
        }
        self
    }

    /// Whether spans of it are wanted.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.is_sampled() && SINK.get().is_some()
    }

    /// A span within this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span: super::trace_context::random_span(), parent: Some(self.span), ..*self }
    }
}

/// A span that is under way.
#[derive(Clone, Copy, Debug)]
pub struct SpanTimer {
    context: TraceContext,
    began: Instant,
}

impl TraceContext {
    /// A span within this one that begins now, if spans are wanted.
    #[must_use]
    pub fn timer(&self) -> Option<SpanTimer> {
        self.is_recorded().then(|| SpanTimer { context: self.child(), began: Instant::now() })
    }
}

impl SpanTimer {
    /// The span's own place in its trace.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// It ends now.
    pub fn end(
        self,
        (kind, name): (SpanKind, impl Into<Cow<'static, str>>),
        attributes: Vec<(&'static str, AttributeValue)>,
        failed: bool,
    ) {
        let (context, began, took) = (self.context, self.began, self.began.elapsed());
        record_span(SpanRecord {
            context,
            kind,
            name: name.into(),
            began,
            took,
            attributes,
            failed,
        });
    }
}

impl fmt::Debug for dyn SpanSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpanSink")
    }
}
