//! What is known of an exchange at its end, and what all of that adds up to.
//!
//! ```text
//! exchange ends ─→ ExchangeRecord ─→ Observers ─┬→ Traffic: series for /metrics, views, usage
//!                                               │     └→ once a second: Window, the last minutes
//!                                               ├→ the access log
//!                                               └→ spans
//! stage ends ────→ StageRecord ───→ GenerationTraffic: old and new version, compared
//! ```
//!
//! One value says all of an exchange, and observers see that value and nothing else: nobody counts beside it. An
//! observer runs on the thread on which the exchange ends, between two requests of clients. So it waits for nothing:
//! it takes the record, or drops it and counts that.
//!
//! May not know sockets, hyper, wasmtime, or what a component is beyond its name.

mod digits;
mod end;
mod generation_traffic;
mod histogram;
mod label;
mod lock;
mod observer;
mod record;
mod request_id;
mod route_label;
mod span;
mod trace_context;
mod traffic;
mod usage;
mod usage_meter;
mod window;

pub use digits::{span_digits, trace_digits};
pub use end::End;
pub use generation_traffic::{ComponentTraffic, GenerationTraffic, StageTotals};
pub use histogram::Histogram;
pub use label::{MethodLabel, ProtocolLabel, StatusLabel};
pub use observer::{Observer, Observers};
pub use record::{Agent, ExchangeRecord, RequestLine, StageRecord, Stages};
pub use request_id::RequestId;
pub use route_label::{RouteId, RouteLabel};
pub use span::{
    AttributeValue, SpanCounts, SpanFate, SpanKind, SpanRecord, SpanSink, SpanTimer, record_span,
    set_span_sink,
};
pub use trace_context::{TRACESTATE, TraceContext};
pub use traffic::{ComponentTotals, Series, SeriesKey, Traffic, TrafficTotals};
pub use usage::{CallCounts, CodeTotals, ComponentUsage, UsageTotals};
pub use usage_meter::{UsageMeter, Used, UsedLately};
pub use window::{
    EventKind, EventLog, History, HistoryPoint, HistorySeries, LastMinute, LoggedEvent,
    SecondCount, Window,
};
