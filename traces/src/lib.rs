//! Spans, sent to a collector by OTLP over HTTP, in its JSON form.
//!
//! ```text
//! exchange, stage, outgoing request … ─→ record (no wait) ─→ queue, bounded ─→ thread `traces` ─→ POST /v1/traces
//! ```
//!
//! A request never waits for the collector: a span that finds no room in the queue, or that the collector does not take
//! in time, is dropped and counted (docs/adr/0047).

mod encode;
mod exporter;
mod server_span;

pub use exporter::{TraceExporter, TraceFlush};
