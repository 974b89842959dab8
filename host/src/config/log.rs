//! What is logged: `--log`, `HOST_LOG`, or what the manifest says, in this order.

use std::env;
use std::ffi::OsString;

use host_manifest::LogFilter;
use thiserror::Error;
use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "HOST_LOG";

/// What is logged unless something else is asked for. wasmtime-wasi-http warns of every peer that
/// goes away, which is no fault.
const DEFAULT: &str = "info,wasmtime_wasi_http=error,wasmtime_wasi=error";

/// What guests print. They know no level of the host's, so none of those keeps their lines back.
const GUESTS: &str = "guest=info";

/// Why what is asked to be logged cannot be.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{place}={value:?}: {what}")]
pub struct BadLogFilter {
    place: &'static str,
    value: String,
    what: String,
}

/// What is to be logged, with what `flag` and the manifest ask for.
///
/// # Errors
/// What the environment asks for cannot be read, or would silence the host by a slip.
pub(super) fn log_filter(
    flag: Option<&LogFilter>,
    manifest: Option<&LogFilter>,
) -> Result<EnvFilter, BadLogFilter> {
    choose(flag, env::var_os(VARIABLE), manifest)
}

fn choose(
    flag: Option<&LogFilter>,
    variable: Option<OsString>,
    manifest: Option<&LogFilter>,
) -> Result<EnvFilter, BadLogFilter> {
    // Read even if the flag wins: a slip there is a slip.
    let variable = variable.filter(|value| !value.is_empty()).map(read).transpose()?;
    let Some(filter) = flag.or(variable.as_ref()).or(manifest) else {
        return Ok(format!("{DEFAULT},{GUESTS}").into());
    };
    let mut directives = filter.directives().to_owned();
    if !filter.names("guest") {
        directives = format!("{directives},{GUESTS}");
    }
    EnvFilter::builder().parse(&directives).map_err(|why| BadLogFilter {
        place: "the filter of the log",
        value: filter.directives().to_owned(),
        what: why.to_string(),
    })
}

fn read(value: OsString) -> Result<LogFilter, BadLogFilter> {
    let refuse = |what, value| BadLogFilter { place: VARIABLE, value, what };
    let text = value.into_string().map_err(|value| {
        refuse("it is not UTF-8; write a level, such as info".into(), value.display().to_string())
    })?;
    text.parse().map_err(|what| refuse(what, text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn chosen(flag: Option<&str>, variable: &str, manifest: Option<&str>) -> String {
        let filter = |text: Option<&str>| text.map(|text| text.parse::<LogFilter>().unwrap());
        let (flag, manifest) = (filter(flag), filter(manifest));
        let chosen = choose(flag.as_ref(), Some(variable.into()), manifest.as_ref());
        let mut directives: Vec<_> =
            chosen.unwrap().to_string().split(',').map(str::to_owned).collect();
        directives.sort();
        directives.join(" ")
    }

    #[test]
    fn flag_goes_before_the_variable_and_that_before_the_manifest() {
        assert_eq!(chosen(Some("warn"), "debug", Some("error")), "guest=info warn");
        assert_eq!(chosen(None, "debug", Some("error")), "debug guest=info");
        assert_eq!(chosen(None, "", Some("error")), "error guest=info");
        assert!(chosen(None, "", None).contains("wasmtime_wasi=error"));
    }

    /// `HOST_LOG=warn` and `HOST_LOG=host=debug` dropped the tracebacks of guests.
    #[test]
    fn lines_of_guests_stay_unless_they_are_named() {
        assert_eq!(chosen(None, "off", None), "guest=info off");
        assert_eq!(chosen(None, "host=debug", None), "guest=info host=debug");
        assert_eq!(chosen(None, "info,guest=off", None), "guest=off info");
        assert!(chosen(None, "", None).contains("guest=info"));
    }

    #[test]
    fn slips_are_refused_with_their_place() {
        let slip = choose(None, Some("inof".into()), None).unwrap_err().to_string();
        assert!(slip.starts_with("HOST_LOG=\"inof\": \"inof\" is no level"), "{slip}");
        let bytes = OsString::from_vec(b"info\xff".to_vec());
        let slip = choose(None, Some(bytes), None).unwrap_err().to_string();
        assert!(slip.contains("not UTF-8"), "{slip}");
        let slip = choose(None, Some("host[=debug".into()), None).unwrap_err().to_string();
        assert!(slip.contains("invalid"), "{slip}");
        let flag = "warn".parse().unwrap();
        assert!(choose(Some(&flag), Some("inof".into()), None).is_err(), "even if the flag wins");
    }
}
