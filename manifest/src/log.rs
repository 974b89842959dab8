//! What is logged, how, and where it goes.

use std::path::PathBuf;
use std::str::FromStr;

use strum::{EnumString, VariantNames};

use crate::trace::TraceConfig;

/// The log of the host and the access log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// What the host logs of itself; if nothing is said, as much as is useful in production.
    pub level: Option<LogFilter>,
    /// How its lines are written.
    pub format: LogFormat,
    /// Where a line is written for each exchange.
    pub access: AccessLogTarget,
    /// How those lines are written.
    pub access_format: AccessLogFormat,
    /// Whether the query of a request stands in its line. Tokens live there.
    pub query: bool,
    /// Where spans go.
    pub trace: TraceConfig,
}

/// How the lines of the log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = no_format)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object in each line, for programs.
    Json,
}

fn no_format(_: &str) -> String {
    "neither text nor json; write text (for people) or json (an object in each line)".into()
}

/// How the lines of the access log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = no_access_format)]
pub enum AccessLogFormat {
    /// One object in each line, with all there is to say.
    #[default]
    Json,
    /// As Apache's `combined`.
    Combined,
}

fn no_access_format(_: &str) -> String {
    "neither json nor combined; write json (an object in each line) or combined (as Apache does)"
        .into()
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Nowhere.
    #[default]
    Off,
    /// To stdout, behind the ready line.
    Stdout,
    /// Among the lines of the log.
    Stderr,
    /// To the end of a file.
    File(PathBuf),
}

impl FromStr for AccessLogTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            "" => Err("no path; write the path of a file, stdout, stderr or off".into()),
            path => Ok(Self::File(path.into())),
        }
    }
}

/// What is logged: a level, or parts of the program and their levels: `info,host_net=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

/// The names that log: our crates (all begin with `host`), guests, and libraries.
const LOGGERS: [&str; 6] =
    ["host", "guest", "h2", "hyper_util", "wasmtime_wasi", "wasmtime_wasi_http"];

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl LogFilter {
    /// The directives, as the tracing crate reads them: with commas between them, no spaces.
    #[must_use]
    pub fn directives(&self) -> &str {
        &self.0
    }

    /// Whether a directive names this part of the program, or how its name begins.
    #[must_use]
    pub fn names(&self, part: &str) -> bool {
        let named = self.0.split(',').filter_map(|directive| directive.split_once('='));
        named.into_iter().any(|(who, _)| part.starts_with(who))
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> =
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        let form = |what: String| {
            format!(
                "{what}; write a level ({}), or a part of the host and its level, as in \
                 info,host_net=debug",
                LEVELS.join(", ")
            )
        };
        if parts.is_empty() {
            return Err(form("there is no level in it".into()));
        }
        match parts.iter().find_map(|part| check(part).err()) {
            Some(what) => Err(form(what)),
            None => Ok(Self(parts.join(","))),
        }
    }
}

/// Refuses what the tracing crate would take for something else: to it a word alone is the name of a logger, on all
/// levels, even if there is none of that name.
fn check(part: &str) -> Result<(), String> {
    let (who, level) = match part.split_once('=') {
        // Spans and their fields: the filter knows.
        _ if part.contains('[') => return Ok(()),
        Some((who, level)) => (Some(who), level),
        None => (None, part),
    };
    if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
        return Err(format!("{level:?} is no level"));
    }
    match who {
        Some(who) if !is_logger(who) => {
            Err(format!("nobody logs as {who:?}, but {}", LOGGERS.join(", ")))
        }
        _ => Ok(()),
    }
}

/// Whether the name of a logger begins so: that is how the filter looks for it.
fn is_logger(name: &str) -> bool {
    let first = name.split("::").next().unwrap_or_default();
    let ours = first.starts_with("host_");
    !first.is_empty() && (ours || LOGGERS.iter().any(|it| it.starts_with(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_loggers_are_taken() {
        for (text, directives) in [
            ("debug", "debug"),
            ("WARN", "WARN"),
            ("off", "off"),
            ("host=debug", "host=debug"),
            ("info,host_net=trace,guest=off", "info,host_net=trace,guest=off"),
            (" info , h2=warn,", "info,h2=warn"),
            (
                "wasmtime=error,hyper=off,host_outgoing=debug",
                "wasmtime=error,hyper=off,host_outgoing=debug",
            ),
            ("host[exchange{id=1}]=debug", "host[exchange{id=1}]=debug"),
        ] {
            let filter = text.parse::<LogFilter>();
            assert_eq!(filter.as_ref().map(LogFilter::directives), Ok(directives), "{text}");
        }
    }

    /// `HOST_LOG=inof` logged nothing at all, `HOST_LOG=host=inof` what is logged without it.
    #[test]
    fn slips_are_refused() {
        for (text, what) in [
            ("inof", "\"inof\" is no level"),
            ("host", "\"host\" is no level"),
            ("info debug", "\"info debug\" is no level"),
            ("info;host=debug", "nobody logs as \"info;host\""),
            ("host=inof", "\"inof\" is no level"),
            ("host=", "\"\" is no level"),
            ("=info", "nobody logs as \"\""),
            ("info,hots=debug", "nobody logs as \"hots\""),
            ("host:net=debug", "nobody logs as \"host:net\""),
            ("host=debug=info", "\"debug=info\" is no level"),
            ("7", "\"7\" is no level"),
            (",", "there is no level in it"),
        ] {
            let refused = text.parse::<LogFilter>();
            let told = refused.as_ref().err().is_some_and(|why| why.contains(what));
            assert!(told, "{text}: {refused:?}");
        }
    }

    #[test]
    fn a_filter_knows_whom_it_names() {
        let names = |text: &str, part| text.parse::<LogFilter>().unwrap().names(part);
        assert!(names("warn,guest=off", "guest"));
        assert!(!names("warn,host=debug", "guest"));
        assert!(!names("warn", "guest"));
    }

    #[test]
    fn the_access_log_goes_to_a_file_unless_it_is_a_word() {
        for (text, target) in [
            ("off", AccessLogTarget::Off),
            ("stdout", AccessLogTarget::Stdout),
            ("stderr", AccessLogTarget::Stderr),
            ("/var/log/host/access.log", AccessLogTarget::File("/var/log/host/access.log".into())),
            ("./off", AccessLogTarget::File("./off".into())),
        ] {
            assert_eq!(text.parse(), Ok(target));
        }
        assert!("".parse::<AccessLogTarget>().is_err());
    }
}
