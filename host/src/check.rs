//! `host check` and `--dry-run`: whether what is to be served would serve, and what it would use.

use std::io::Write as _;
use std::sync::Arc;

use crate::advice;
use crate::component::{self, Glance, Loader};
use crate::config::{Check, Serve};
use crate::exit::Exit;
use crate::outfit::Outfit;
use crate::outlet;
use crate::progress;
use crate::report::{self, Report};
use crate::resources;
use crate::serve;
use crate::threads;

/// Surveys, compiles, links and starts everything once, and prints what was found. Code is taken from the
/// cache and kept there, as a start would.
#[must_use]
pub fn run(ask: &Check) -> Exit {
    let report = match examine(&ask.serve) {
        Ok(report) => report,
        Err(why) => {
            drop(writeln!(outlet::stderr(), "host check: {why:#}"));
            return Exit::NoStart;
        }
    };
    if ask.json {
        drop(writeln!(outlet::stdout(), "{}", report.json()));
    } else {
        print("host check", &report);
    }
    match report.ok {
        false => Exit::NoStart,
        true if ask.strict && !report.warnings.is_empty() => Exit::Warned,
        true => Exit::Clean,
    }
}

/// Goes as far as a start would, smoke requests and all, and says so.
#[must_use]
pub fn dry_run(config: &Serve) -> Exit {
    let what = "host serve --dry-run";
    match examine(config) {
        Ok(report) => {
            print(what, &report);
            if report.ok { Exit::Clean } else { Exit::NoStart }
        }
        Err(why) => {
            drop(writeln!(outlet::stderr(), "{what}: {why:#}"));
            Exit::NoStart
        }
    }
}

/// What would serve, on stdout; if something would not, that alone, on stderr, a line for each.
fn print(what: &str, report: &Report) {
    if report.ok {
        drop(outlet::stdout().write_all(report.text().as_bytes()));
    }
    for refused in report.refused() {
        drop(writeln!(outlet::stderr(), "{what}: {refused}"));
    }
}

fn examine(config: &Serve) -> anyhow::Result<Report> {
    threads::check(resources::threads(config))?;
    let runtime = threads::runtime(config.threads.get())?;
    let mut workshop = serve::workshop(config, None)?;
    (workshop.instances, workshop.say) = (1, progress::say);
    let loader = Arc::new(Loader::new(&workshop));
    let outfitter = Outfit::for_a_look().outfitter(config);
    let report = runtime.block_on(async {
        let looked = outfitter.look(&loader).await;
        progress::cleared().await;
        describe(looked, config, &loader).await
    });
    runtime.shutdown_background();
    Ok(report)
}

/// Each component with what a start would make of it.
type Looked = Vec<(host_manifest::Component, Result<(), component::Rejected>)>;

async fn describe(looked: Looked, config: &Serve, loader: &Loader) -> Report {
    let (routes, lines) = (&config.manifest.routes, &config.manifest.lines);
    let mut surveys = advice::Surveys::new();
    let mut components = Vec::new();
    for (component, outcome) in looked {
        let chained = routes.iter().any(|route| route.chain.contains(&component.name));
        let Glance { survey, missing } = loader.glance(&component.source).await;
        let place = config.file.as_ref().zip(lines.get(&component.name));
        let place = place.map(|(file, line)| (file.path.as_path(), *line));
        let found = report::Found { survey: survey.as_ref(), chained, missing };
        components.push(report::Component::new(&component, place, outcome, found));
        surveys.extend(survey.map(|survey| (component.name.clone(), survey)));
    }
    // Of a single component the flags say nothing that could be in vain.
    let (ways, warnings) = match &config.file {
        None => (Vec::new(), Vec::new()),
        Some(_) => {
            let all = config.manifest.components.values();
            (routes.iter().map(report::way).collect(), advice::of(all, routes, &surveys))
        }
    };
    Report::new(components, ways, warnings)
}
