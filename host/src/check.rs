//! `host check` and `--dry-run`: whether what is to be served would serve, and what it would use.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use crate::component::{self, Loader, Rejected, Survey};
use crate::config::Serve;
use crate::config::args::{self, Job};
use crate::exit::Exit;
use crate::outfit::Outfit;
use crate::serve;
use crate::site::{App, Site};

/// Surveys, compiles, links and starts everything once, and prints what was found.
#[must_use]
pub fn run(app: &Path) -> Exit {
    let words = ["host", "serve", "--no-cache", "--"].map(Into::into);
    let line = words.into_iter().chain([app.as_os_str().to_owned()]);
    let config = match args::parse(line) {
        Ok(Job::Serve(config)) => config,
        Ok(Job::Check(_) | Job::Ctl(_) | Job::Schema) => return Exit::Usage,
        Err(why) => {
            drop(why.print());
            return Exit::Usage;
        }
    };
    conclude("host check", examine(&config))
}

/// Goes as far as a start would, smoke requests and all, and says so.
#[must_use]
pub fn dry_run(config: &Serve) -> Exit {
    conclude("host serve --dry-run", examine(config))
}

fn conclude(what: &str, report: anyhow::Result<String>) -> Exit {
    match report {
        Ok(report) => {
            drop(io::stdout().write_all(report.as_bytes()));
            Exit::Clean
        }
        Err(why) => {
            drop(writeln!(io::stderr(), "{what}: {why:#}"));
            Exit::NoStart
        }
    }
}

fn examine(config: &Serve) -> anyhow::Result<String> {
    // The survey comes first, because what it says of a wrong file is the better sentence.
    for component in config.manifest.components.values() {
        component::survey_file(&component.source).map_err(Rejected::from)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut workshop = serve::workshop(config);
    workshop.instances = 1;
    let (loader, outfitter) = (Loader::new(workshop), Outfit::for_a_look().outfitter(config));
    let site = runtime.block_on(outfitter.build(&loader))?;
    let report = describe(&site, config)?;
    runtime.shutdown_background();
    Ok(report)
}

fn describe(site: &Site, config: &Serve) -> anyhow::Result<String> {
    let mut report = String::new();
    for app in site.apps() {
        let (kind, survey) = component::survey_file(&app.path).map_err(Rejected::from)?;
        if config.file.is_some() {
            writeln!(report, "component {}:", app.manifest.name)?;
        }
        writeln!(
            report,
            "{} would serve: {kind} ({})\nexports:\n{}imports:\n{}{}",
            app.path.display(),
            kind.interface(),
            lines(&survey.exports),
            lines(&survey.imports),
            grants(app, &survey)
        )?;
    }
    Ok(report)
}

/// What it is granted, and what it lacks for all of its imports to be of use.
fn grants(app: &App, survey: &Survey) -> String {
    let granted = app.manifest.grants.words();
    let lacks: Vec<_> = survey
        .useful_grants()
        .into_iter()
        .filter(|(_, word)| !granted.iter().any(|(has, _)| has == word))
        .map(|(what, _)| what)
        .collect();
    let mut text = String::new();
    for (word, what) in &granted {
        // Writing to a string cannot fail.
        writeln!(text, "granted: {word}: {what}").ok();
    }
    if lacks.is_empty() {
        text += if granted.is_empty() { "grants: needs none" } else { "lacks: nothing" };
        return text;
    }
    let lacks = lacks.join(", ");
    text += &if granted.is_empty() {
        format!("grants: could use {lacks}; nothing is granted, so it finds none there")
    } else {
        format!("lacks: {lacks}; it finds none there")
    };
    text
}

fn lines(names: &[String]) -> String {
    names.iter().map(|name| format!("  {name}\n")).collect()
}
