//! The tables `log` and `trace`, and the file that a component's output goes to.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::reader::Reader;
use super::spanned::{Spanned, Written};
use crate::error::Problem;
use crate::{
    AccessLogFormat, AccessLogTarget, LogConfig, LogFilter, LogFormat, OtlpEndpoint, TraceConfig,
    TraceSample,
};

/// What is logged, how, and where it goes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Log {
    /// What the host logs of itself: off, error, warn, info, debug or trace, or parts of it and their
    /// levels. The variable HOST_LOG and --log go before it. What guests print is logged all the same.
    #[schemars(extend("default" = "info"))]
    pub(super) level: Option<Written<LogFilter>>,
    /// How the lines of the log are written: `text` for people, `json` for programs.
    #[schemars(extend("default" = "text"))]
    pub(super) format: Option<Written<LogFormat>>,
    /// Where a line is written for each request: a file, relative to the manifest, `stdout`, `stderr` or
    /// `off`. SIGUSR1 opens the file again.
    #[schemars(extend("default" = "off"))]
    pub(super) access: Option<Written<AccessLogTarget>>,
    /// How those lines are written: `json`, or `combined` as Apache does.
    #[schemars(extend("default" = "json"))]
    pub(super) access_format: Option<Written<AccessLogFormat>>,
    /// Whether those lines have the query of a request, where tokens may stand.
    #[schemars(extend("default" = false))]
    pub(super) log_query: bool,
}

/// Where spans of requests go.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Trace {
    /// The collector that they are sent to by OTLP over HTTP, as JSON: http://HOST:PORT. Nowhere by default.
    pub(super) endpoint: Option<Written<OtlpEndpoint>>,
    /// The part of the traces that begin here and are sampled. Where the sender of a request says whether its
    /// trace is sampled, that counts.
    #[schemars(extend("default" = "100%"))]
    pub(super) sample: Option<Written<TraceSample>>,
}

/// What is logged, how, and where it goes; and where spans go.
pub(super) fn log(reader: &mut Reader<'_>, raw: &Log, trace: &Trace) -> LogConfig {
    let access = raw.access.as_ref().and_then(|access| {
        let target = reader.parse(access)?;
        let AccessLogTarget::File(_) = target else { return Some(target) };
        let path = reader.log_file(&access.text)?;
        Some(AccessLogTarget::File(hold(reader, &access.text, path, "the access log".into())))
    });
    LogConfig {
        level: raw.level.as_ref().and_then(|level| reader.parse(level)),
        format: raw.format.as_ref().and_then(|it| reader.parse(it)).unwrap_or_default(),
        access: access.unwrap_or_default(),
        access_format: raw
            .access_format
            .as_ref()
            .and_then(|it| reader.parse(it))
            .unwrap_or_default(),
        query: raw.log_query,
        trace: TraceConfig {
            endpoint: trace.endpoint.as_ref().and_then(|it| reader.parse(it)),
            sample: trace.sample.as_ref().and_then(|it| reader.parse(it)),
        },
    }
}

/// The file of a component's output, if it has one.
pub(super) fn guest_log(
    reader: &mut Reader<'_>,
    name: &str,
    written: Option<&Spanned<String>>,
) -> Option<PathBuf> {
    let written = written?;
    let path = reader.log_file(written)?;
    Some(hold(reader, written, path, format!("the log of component `{name}`")))
}

/// A file that lines are added to: by nobody else, and no guest may change it.
fn hold(
    reader: &mut Reader<'_>,
    written: &Spanned<String>,
    path: PathBuf,
    what: String,
) -> PathBuf {
    let taken = reader.places.holder(&path).map(str::to_owned);
    if let Some(other) = taken {
        let problem = Problem::new(written.span.clone(), format!("this path is {other} too"));
        reader.report(problem.help("give each log a file of its own"));
    }
    reader.places.hold(what, &path);
    path
}
