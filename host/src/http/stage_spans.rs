//! The spans of a stage: the wait for an instance, the guest, and its answer.

use std::time::Duration;

use host_telemetry::{
    AttributeValue, End, SpanKind, SpanRecord, StageRecord, TraceContext, record_span,
};
use tokio::time::Instant;

/// Records the spans of a stage that began at `began` with its instance, and has the place `context` in its trace.
pub(super) fn record(stage: &StageRecord, context: TraceContext, began: Instant) {
    let span = |context, name: &'static str, began, took| SpanRecord {
        context,
        kind: SpanKind::Internal,
        name: name.into(),
        began,
        took,
        attributes: Vec::new(),
        failed: false,
    };
    if stage.queue > Duration::ZERO {
        // Before the stage, and in what it is in.
        let queue = TraceContext { parent: context.parent, ..context.child() };
        record_span(span(queue, "queue", began - stage.queue, stage.queue));
    }
    if let Some(head) = stage.head {
        record_span(span(context.child(), "guest until head", began, head));
        let rest = stage.took.saturating_sub(head);
        record_span(span(context.child(), "response body", began + head, rest));
    }
    let mut attributes = vec![
        ("host.component", AttributeValue::from(stage.component)),
        ("host.cpu_time", AttributeValue::Seconds(stage.cpu.as_secs_f64())),
        ("host.end", stage.end.name().into()),
    ];
    attributes.extend(stage.generation.map(|number| ("host.generation", number.into())));
    let status = stage.status.map(|status| u64::from(status.as_u16()));
    attributes.extend(status.map(|status| ("http.response.status_code", status.into())));
    let failed = stage.is_error() || !matches!(stage.end, End::Finished | End::PeerGone);
    let name = stage.component;
    record_span(SpanRecord { attributes, failed, ..span(context, name, began, stage.took) });
}
