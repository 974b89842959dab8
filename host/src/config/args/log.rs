//! What is logged, how, and where it goes.

use std::path::Path;

use clap::Args;
use host_manifest::{
    AccessLogFormat, AccessLogTarget, LogFilter, LogFormat, OtlpEndpoint, TraceConfig, TraceSample,
};

use super::super::checked::LogOverrides;

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Logs and traces")]
pub(super) struct LogArgs {
    /// What the host logs of itself: off, error, warn, info, debug or trace, or parts of it and their
    /// levels, as info,host_net=debug. Goes before the variable HOST_LOG. What guests print is logged
    /// all the same [default: info, or the manifest's]
    #[arg(long = "log", value_name = "LEVEL")]
    level: Option<LogFilter>,

    /// How the lines of the log are written: text for people, json for programs
    /// [default: text, or the manifest's]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// Where a line is written for each request: the path of a file, stdout, stderr or off. SIGUSR1
    /// opens the file again [default: off, or the manifest's]
    #[arg(long, value_name = "PATH")]
    access_log: Option<AccessLogTarget>,

    /// How those lines are written: json, or combined as Apache does [default: json, or the
    /// manifest's]
    #[arg(long, value_name = "FORMAT")]
    access_log_format: Option<AccessLogFormat>,

    /// Send spans of requests to this collector by OTLP over HTTP, as JSON: http://HOST:PORT
    /// [default: nowhere, or the manifest's]
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<OtlpEndpoint>,

    /// The part of the traces that begin here and are sampled; where the sender of a request says whether
    /// its trace is, that counts [default: 100%, or the manifest's]
    #[arg(long, value_name = "PERCENT")]
    trace_sample: Option<TraceSample>,

    /// Write the query of each request into its line: tokens may stand there [default: off, or the
    /// manifest's]
    #[arg(long)]
    log_query: bool,
}

impl LogArgs {
    pub(super) fn checked(self) -> LogOverrides {
        LogOverrides {
            level: self.level,
            format: self.log_format,
            access: self.access_log,
            access_format: self.access_log_format,
            query: self.log_query,
            trace: TraceConfig { endpoint: self.otlp_endpoint, sample: self.trace_sample },
        }
    }

    /// The file of the access log, if a flag names one.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.access_log {
            Some(AccessLogTarget::File(path)) => Some(path),
            _ => None,
        }
    }
}
