//! OTLP's JSON form of spans (opentelemetry-proto 1.x, `ExportTraceServiceRequest`): numbers of 64 bits are texts there,
//! and ids hexadecimal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host_telemetry::{AttributeValue, SpanKind, SpanRecord};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Instants as times of day: the difference is read once for each batch.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    instant: Instant,
    system: SystemTime,
}

impl Clock {
    pub(crate) fn now() -> Self {
        Self { instant: Instant::now(), system: SystemTime::now() }
    }

    fn nanos(&self, at: Instant) -> u64 {
        let at = match self.instant.checked_duration_since(at) {
            Some(ago) => self.system.checked_sub(ago),
            None => self.system.checked_add(at - self.instant),
        };
        let since = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The body of a request with these spans, of this service.
pub(crate) fn request(spans: &[SpanRecord], service: &str, version: &str, clock: Clock) -> Vec<u8> {
    let spans: Vec<Value> = spans.iter().map(|it| span(it, clock)).collect();
    let resource = json!([
        attribute("service.name", &AttributeValue::Text(service.to_owned().into())),
        attribute("service.version", &AttributeValue::Text(version.to_owned().into())),
        attribute("process.pid", &AttributeValue::Number(std::process::id().into())),
    ]);
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "host", "version": version}, "spans": spans}],
    }]});
    // Texts and numbers only: it cannot fail.
    serde_json::to_vec(&body).unwrap_or_default()
}

fn span(record: &SpanRecord, clock: Clock) -> Value {
    let SpanRecord { context, kind, name, began, took, attributes, failed } = record;
    let kind = match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    };
    let attributes: Vec<Value> =
        attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let (start, end) = (clock.nanos(*began), clock.nanos(*began + *took));
    let mut span = json!({
        "traceId": format!("{:032x}", context.trace),
        "spanId": format!("{:016x}", context.span),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes,
        "flags": context.flags,
    });
    if let Some(parent) = context.parent {
        span["parentSpanId"] = format!("{parent:016x}").into();
    }
    if *failed {
        span["status"] = json!({"code": 2});
    }
    span
}

fn attribute(name: &str, value: &AttributeValue) -> Value {
    let value = match value {
        AttributeValue::Text(text) => json!({"stringValue": text}),
        AttributeValue::Number(number) => json!({"intValue": number.to_string()}),
        AttributeValue::Seconds(seconds) => json!({"doubleValue": seconds}),
    };
    json!({"key": name, "value": value})
}

#[cfg(test)]
mod tests {
    use host_telemetry::TraceContext;

    use super::*;

    #[test]
    fn a_span_has_its_ids_times_and_attributes_as_otlp_has_them() {
        let clock = Clock::now();
        let record = SpanRecord {
            context: TraceContext { trace: 0xab, span: 0xcd, parent: Some(0xef), flags: 1 },
            kind: SpanKind::Server,
            name: "GET /cart".into(),
            began: clock.instant,
            took: Duration::from_millis(5),
            attributes: vec![
                ("http.request.method", "GET".into()),
                ("http.response.status_code", 500.into()),
                ("host.cpu_time", AttributeValue::Seconds(0.25)),
            ],
            failed: true,
        };
        let body: Value =
            serde_json::from_slice(&request(&[record], "shop", "1.0", clock)).unwrap();
        let of = &body["resourceSpans"][0];
        assert_eq!(of["resource"]["attributes"][0]["value"]["stringValue"], "shop");
        let span = &of["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "000000000000000000000000000000ab");
        assert_eq!(
            (&span["spanId"], &span["parentSpanId"]),
            (&"00000000000000cd".into(), &"00000000000000ef".into())
        );
        let nanos = |name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
        assert_eq!(nanos("endTimeUnixNano") - nanos("startTimeUnixNano"), 5_000_000);
        assert_eq!((&span["kind"], &span["status"]["code"]), (&2.into(), &2.into()));
        assert_eq!(span["attributes"][1]["value"]["intValue"], "500");
        assert_eq!(span["attributes"][2]["value"]["doubleValue"], 0.25);
    }
}
