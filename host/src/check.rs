//! `host check`: whether a component would serve, and what it would use.

use std::io::{self, Write as _};
use std::path::Path;

use crate::component::{self, Cache, Kind, Limits, LoadError, Survey};
use crate::config::args;
use crate::exit::Exit;

/// Surveys, compiles, links and starts a component once, and prints what was found.
#[must_use]
pub fn run(app: &Path) -> Exit {
    match examine(app) {
        Ok(report) => {
            drop(io::stdout().write_all(report.as_bytes()));
            Exit::Clean
        }
        Err(why) => {
            drop(writeln!(io::stderr(), "host check: {why}"));
            Exit::NoStart
        }
    }
}

fn examine(app: &Path) -> Result<String, anyhow::Error> {
    let (kind, survey) = component::survey_file(app).map_err(with_cause)?;
    let limits = limits();
    let generation = component::load(app, &limits, &Cache::Off).map_err(with_cause)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(generation.prove()).map_err(|why| {
        anyhow::anyhow!("{} does not start: {why}; see its start function", app.display())
    })?;
    Ok(describe(app, kind, &survey))
}

/// An error of loading with its cause, in one sentence.
fn with_cause(why: LoadError) -> anyhow::Error {
    match std::error::Error::source(&why) {
        Some(cause) => anyhow::anyhow!("{why}: {cause}"),
        None => why.into(),
    }
}

/// One instance, with the limits that `host serve` has by default.
fn limits() -> Limits {
    let guest = args::default_guest_limits();
    Limits { instances: 1, memory: guest.memory, cpu: guest.cpu, start: guest.cpu }
}

fn describe(app: &Path, kind: Kind, survey: &Survey) -> String {
    let grants = survey.useful_grants();
    let grants = if grants.is_empty() {
        "grants: needs none".to_owned()
    } else {
        let grants = grants.join(", ");
        format!("grants: could use {grants}; nothing is granted, so it finds none there")
    };
    format!(
        "{} would serve: {kind} ({})\nexports:\n{}imports:\n{}{grants}\n",
        app.display(),
        kind.interface(),
        lines(&survey.exports),
        lines(&survey.imports)
    )
}

fn lines(names: &[String]) -> String {
    names.iter().map(|name| format!("  {name}\n")).collect()
}
