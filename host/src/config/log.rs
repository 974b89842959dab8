//! `HOST_LOG`: what is logged.

use std::env;
use std::ffi::OsString;

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

const VARIABLE: &str = "HOST_LOG";

/// What is logged unless `HOST_LOG` says otherwise. wasmtime-wasi-http warns of every peer that
/// goes away, which is no fault.
const DEFAULT: &str = "info,wasmtime_wasi_http=error,wasmtime_wasi=error";

/// The names that log: our crates (all begin with `host`), guests, and libraries.
const LOGGERS: [&str; 6] =
    ["host", "guest", "h2", "hyper_util", "wasmtime_wasi", "wasmtime_wasi_http"];

/// Why `HOST_LOG` cannot be followed.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{VARIABLE}={value:?}: {what}; write a level (off, error, warn, info, debug, trace), or who and a \
     level, as in {VARIABLE}=info,host_net=debug"
)]
pub struct BadLogFilter {
    value: String,
    what: String,
}

/// What the environment asks to be logged.
///
/// # Errors
/// What it asks for cannot be read, or would silence the host by a slip.
pub fn log_filter() -> Result<EnvFilter, BadLogFilter> {
    read(env::var_os(VARIABLE))
}

fn read(value: Option<OsString>) -> Result<EnvFilter, BadLogFilter> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(DEFAULT.into());
    };
    let refuse = |what| BadLogFilter { value: value.display().to_string(), what };
    let text = value.to_str().ok_or_else(|| refuse("it is not UTF-8".into()))?;
    let parts: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    for part in &parts {
        check(part).map_err(refuse)?;
    }
    EnvFilter::builder().parse(parts.join(",")).map_err(|why| refuse(why.to_string()))
}

/// Refuses what the filter would take for something else: a word alone is the name of a logger, on all levels,
/// even if there is none of that name.
fn check(part: &str) -> Result<(), String> {
    let (who, level) = match part.split_once('=') {
        // Spans and their fields: the filter knows.
        _ if part.contains('[') => return Ok(()),
        Some((who, level)) => (Some(who), level),
        None => (None, part),
    };
    if level.is_empty() || level.parse::<LevelFilter>().is_err() {
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

    fn read_text(text: &str) -> Result<String, BadLogFilter> {
        read(Some(text.into())).map(|filter| filter.to_string())
    }

    #[test]
    fn levels_and_loggers_are_taken() {
        for text in [
            "debug",
            "WARN",
            "off",
            "host=debug",
            "info,host_net=trace,guest=off",
            " info , h2=warn,",
            "wasmtime=error,hyper=off,host_outgoing=debug",
            "host[exchange{id=1}]=debug",
        ] {
            assert!(read_text(text).is_ok(), "{text}: {:?}", read_text(text));
        }
        assert_eq!(read_text("host=debug").as_deref(), Ok("host=debug"));
        let default = read(None).unwrap().to_string();
        assert_eq!(read_text(""), Ok(default.clone()));
        assert!(default.contains("info"), "{default}");
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
            ("host[=debug", "invalid"),
        ] {
            let refused = read_text(text).map_err(|why| why.to_string());
            let told = refused.as_ref().err().is_some_and(|why| why.contains(what));
            assert!(told, "{text}: {refused:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        use std::os::unix::ffi::OsStringExt as _;
        let refused = read(Some(OsString::from_vec(b"info\xff".to_vec()))).unwrap_err();
        assert!(refused.to_string().contains("not UTF-8"), "{refused}");
    }
}
