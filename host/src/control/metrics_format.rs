//! The two texts of metrics, and which of them a scraper wants.

use http::HeaderMap;
use http::header::ACCEPT;

/// The text of a page of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// OpenMetrics 1.0, which Prometheus asks for.
    OpenMetrics,
    /// Prometheus's own text, version 0.0.4, for people and for tools that ask for nothing.
    Prometheus,
}

impl MetricsFormat {
    /// The one that a request with these headers asks for.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accepts = |value: &http::HeaderValue| {
            value.to_str().is_ok_and(|value| value.contains("application/openmetrics-text"))
        };
        match headers.get_all(ACCEPT).iter().any(accepts) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}
