//! The table `log`, and the file that a component's output goes to.

use std::path::PathBuf;

use super::raw;
use super::reader::Reader;
use super::spanned::Spanned;
use crate::error::Problem;
use crate::{AccessLogTarget, LogConfig};

/// What is logged, how, and where it goes.
pub(super) fn log(reader: &mut Reader<'_>, raw: &raw::Log) -> LogConfig {
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
    }
}

/// The file of a component's output, if it has one.
pub(super) fn guest_log(
    reader: &mut Reader<'_>,
    name: &str,
    raw: &raw::Component,
) -> Option<PathBuf> {
    let written = raw.log.as_ref()?;
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
