//! Spans to a collector, where this build has them and the operator names one.

use std::sync::Arc;
#[cfg(feature = "otlp")]
use std::time::Duration;

use host_manifest::TraceConfig;
use host_telemetry::{Observer, SpanCounts};

/// At the end of the process, what was recorded has so long to be sent.
#[cfg(feature = "otlp")]
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// What spans are handed to. Dropping it leaves what is not sent to the process's end.
#[derive(Default)]
pub(super) struct Traces {
    #[cfg(feature = "otlp")]
    exporter: Option<(host_traces::TraceExporter, host_traces::TraceFlush)>,
}

impl Traces {
    /// Begins to send spans, if there is a collector.
    ///
    /// # Errors
    /// When there is no thread for it, and where this build sends none.
    #[cfg(feature = "otlp")]
    pub(super) fn start(config: &TraceConfig) -> anyhow::Result<Self> {
        use anyhow::Context as _;

        let Some(endpoint) = config.endpoint.clone() else { return Ok(Self::default()) };
        let sample = config.sample.map_or(1.0, host_manifest::TraceSample::part);
        let service = ("host", env!("CARGO_PKG_VERSION"));
        let (exporter, flush) = host_traces::TraceExporter::start(endpoint, sample, service)
            .context("starting the thread that sends spans")?;
        host_telemetry::set_span_sink(Arc::new(exporter.clone()));
        Ok(Self { exporter: Some((exporter, flush)) })
    }

    /// The same, where there is nothing to start.
    #[cfg(not(feature = "otlp"))]
    pub(super) fn start(config: &TraceConfig) -> anyhow::Result<Self> {
        match &config.endpoint {
            None => Ok(Self::default()),
            Some(_) => {
                anyhow::bail!("this host was built without the feature `otlp`: it sends no spans")
            }
        }
    }

    /// Is told of each exchange that ends.
    pub(super) fn observer(&self) -> Option<Arc<dyn Observer>> {
        #[cfg(feature = "otlp")]
        return self.exporter.as_ref().map(|(exporter, _)| Arc::new(exporter.clone()) as _);
        #[cfg(not(feature = "otlp"))]
        None
    }

    /// What becomes of spans: nothing where none are sent.
    pub(super) fn counts(&self) -> SpanCounts {
        #[cfg(feature = "otlp")]
        if let Some((exporter, _)) = &self.exporter {
            return exporter.counts().clone();
        }
        SpanCounts::default()
    }

    /// Sends what was recorded, as far as the collector takes it soon.
    pub(super) fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some((_, flush)) = self.exporter {
            flush.flush(FLUSH_PATIENCE);
        }
    }
}
