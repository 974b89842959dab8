//! `host check`: whether a component would serve, and what it would use.

use std::io::{self, Write as _};
use std::path::Path;

use crate::component::{
    self, Cache, Grants, Kind, Limits, Loader, Pace, Rejected, Settings, Survey,
};
use crate::config::args::{self, Job};
use crate::exit::Exit;
use crate::serve;

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
    // The survey comes first, because what it says of a wrong file is the better sentence.
    let (kind, survey) = component::survey_file(app).map_err(Rejected::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Loader::new(settings()?).load(app, Pace::Start))?;
    Ok(describe(app, kind, &survey))
}

/// One instance, with the limits that `host serve` has by default.
fn settings() -> Result<Settings, anyhow::Error> {
    let Job::Serve(serve) = args::parse(["host", "serve", "-"].map(Into::into))? else {
        anyhow::bail!("the command line is read wrongly");
    };
    let limits = Limits { instances: 1, ..serve::guest_limits(&serve) };
    Ok(Settings { cache: Cache::Off, ..serve::settings(&serve, Grants::default(), limits)? })
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
